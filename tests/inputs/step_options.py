"""The options that the pipeline's defaults give to a step: `nextflow.config` is their only home.

For what runs a step by itself (tests, benchmarks) as a run with default parameters would.
"""

import re
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "nextflow.config"
SEED = {"--seed": "seed"}
SIZES = {"--min-size": "gene_set_min_size", "--max-size": "gene_set_max_size"}
DESIGN = {"--design": "design", "--test-term": "test_term", "--min-samples": "min_samples_per_type"}
# Which parameter each option takes its value from, as the script block of the step's module has it.
PARAMETERS = {
    "differential_expression": {
        **DESIGN,
        "--contrast": "contrast",
        "--pool-column": "pool_column",
        "--pool-effect": "pool_effect",
        "--method": "de_method",
        "--reference": "de_reference",
        "--cooks": "de_cooks",
    },
    "composition": DESIGN,
    "gsea": {**SIZES, **SEED, "--permutations": "gsea_permutations"},
    "overrepresentation": {**SIZES, "--backend": "ora_backend"},
    "predict_age": {**SEED, "--refit-permutations": "refit_permutations"},
    "immune_age": {**SEED, "--columns": "acceleration_columns"},
    "published_clocks": {"--min-cells": "min_cells_per_sample"},
}
EXTRA = {"gsea": ["--threads", "1"]}


def parameter_defaults() -> dict[str, str]:
    """Default of each parameter that is a number or a plain text, as text."""
    block = re.search(r"^params \{$(.*?)^\}$", CONFIG.read_text(), re.MULTILINE | re.DOTALL)[1]
    found = re.findall(r"^\s+(\w+)\s*= (?:'([^'\n]*)'|(-?[\d.]+))$", block, re.MULTILINE)
    return {name: text or number for name, text, number in found}


def default_options(step: str) -> list[str]:
    """The options of a step under default parameters; what follows them on a command line replaces them."""
    defaults = parameter_defaults()
    own = [part for option, name in PARAMETERS[step].items() for part in (option, defaults[name])]
    return [*own, *EXTRA.get(step, [])]
