// Lets `nextflow lint` 25.04.4 report a file that has only errors or only warnings. It expects a list of each,
// as its own nf-lang gives; nf-lang 25.04.0, the only one in Maven Central, gives null for none and lint breaks
// off. bootstrap.py compiles this and puts it before nf-lang.
package nextflow.script.control

import groovy.transform.CompileStatic
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.ErrorCollector
import org.codehaus.groovy.control.messages.Message
import org.codehaus.groovy.control.messages.WarningMessage

@CompileStatic
class LazyErrorCollector extends ErrorCollector {

    LazyErrorCollector(CompilerConfiguration configuration) {
        super(configuration)
    }

    @Override
    List<? extends Message> getErrors() {
        super.getErrors() ?: []
    }

    @Override
    List<WarningMessage> getWarnings() {
        super.getWarnings() ?: []
    }

    @Override
    protected void failIfErrors() {
    }
}
