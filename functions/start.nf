// What stops a run before its first task: wrong parameters, code that is not there, a results folder that is not free;
// and what a run says of its plan.

include { checkedParameters                } from './parameters'
include { saidOfTaken                      } from './earlier_run'
include { checkedCode; explainMissingImage } from './provenance'
include { claimOutdir                      } from './publishing'

// Check everything that can be checked, and take the results folder.
def start(given, run) {
    checkedParameters(given)
    checkedCode(run.session.config.process.ext.project.missing)
    explainMissingImage(run)
    claimOutdir(given.outdir)
    saidOfTaken(given).each { line -> println("Note: ${line}") }
}

// Lines of the plan for the terminal: all of it where a check is all, of a run what is doubtful about its cohort.
def saidOfPlan(file, check_only) {
    def lines = new groovy.json.JsonSlurper().parse(file.toFile()).text
    return lines.findAll { line -> check_only || line.startsWith('Note: ') }
}
