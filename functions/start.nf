// What stops a run before its first task: wrong parameters, code that is not there, a results folder that is not free.

include { checkedParameters                } from './parameters'
include { checkedCode; explainMissingImage } from './provenance'
include { claimOutdir                      } from './publishing'

// Check everything that can be checked, and take the results folder.
def start(given, run) {
    checkedParameters(given)
    checkedCode(run.session.config.process.ext.project.missing)
    explainMissingImage(run)
    claimOutdir(given.outdir)
}
