"""The options that the pipeline's defaults give to a step: `nextflow.config` is their only home.

For what runs a step by itself (tests, benchmarks) as a run with default parameters would. Which option takes
which parameter is read from the script blocks of the modules, so that this is said once, too.
"""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What a default run gives to options whose value is more than one parameter.
COMPUTED = {
    ("plan_run", "--mad-group"): "",
    ("plan_run", "--batch-column"): "donor_id",
    ("qc_cells", "--doublet-method"): "scrublet",
}
# What a workflow gives it from a parameter, so that no script block names it.
FURTHER = {"plan_run": {"--designs": "design"}}
# Options that stand in some runs only.
OPTIONAL = {
    ("check_pseudobulk", "--min-donor-fraction"),
    ("export_h5ad", "--target-sum"),
    ("filter_cohort", "--min-donor-fraction"),
    ("overrepresentation", "--enrichr-url"),
    ("overrepresentation", "--enrichr-library"),
    ("plan_run", "--min-donor-fraction"),
    ("qc_thresholds", "--doublet-rate-per-1000"),
    ("simulate_cohort", "--preset"),
}
EXTRA = {"gsea": ["--threads", "1"]}


@cache
def parameter_defaults() -> dict[str, str]:
    """Default of each parameter that is a number or a plain text, as text; nothing is an empty text."""
    block = re.search(r"^params \{$(.*?)^\}$", (ROOT / "nextflow.config").read_text(), re.MULTILINE | re.DOTALL)[1]
    found = re.findall(r"^\s+(\w+)\s*= (?:'([^'\n]*)'|(-?[\d.]+)|null)$", block, re.MULTILINE)
    return {name: text or number for name, text, number in found}


@cache
def parameters_of(step: str) -> dict[str, str]:
    """Which parameter each option of a step takes its value from, as the script block of its module has it."""
    for module in (ROOT / "modules/local").glob("*/main.nf"):
        script = module.read_text()
        if f"exec '{step}.py'" in script:
            given = re.findall(r"--([\w-]+) '?\$\{([^\n{}]*params\.\w[^\n{}]*)\}", script)
            found = {f"--{option}": re.findall(r"params\.(\w+)", value)[0] for option, value in given}
            found |= FURTHER.get(step, {})
            return {option: name for option, name in found.items() if (step, option) not in OPTIONAL}
    raise ValueError(f"{step}: no module runs it")


def default_options(step: str) -> list[str]:
    """The options of a step under default parameters; what follows them on a command line replaces them."""
    defaults = parameter_defaults()
    values = {option: defaults.get(name) for option, name in parameters_of(step).items()}
    values |= {option: value for (name, option), value in COMPUTED.items() if name == step}
    own = [part for option, value in values.items() if value is not None for part in (option, value)]
    return [*own, *EXTRA.get(step, [])]


def default_bounds(**changed: float):
    """The fixed bounds of a good cell under default parameters, with some changed."""
    from immune_aging.cells.qc_rules import BOUNDS, Thresholds

    defaults = parameter_defaults()
    return Thresholds(**({name: float(defaults[name]) for name in BOUNDS} | changed))
