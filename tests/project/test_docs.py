"""The documentation is true: links, files, commands and parameters exist; outputs.md lists what the code writes."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import merge_pseudobulk
import simulate_cohort
from immune_aging import results
from immune_aging.cohort import filtering
from immune_aging.embedding import map_sample, mixing
from immune_aging.figures import genes_by_age
from immune_aging.prediction import age_metrics, clocks, immune_age, summary, training
from immune_aging.samples import shared_donors
from immune_aging.statistics import (
    cohort_comparison,
    comparison,
    composition,
    curves,
    enrichment,
    expression_tests,
    overrepresentation,
    power,
    sensitivity,
    within_levels,
)
from inputs.step_options import default_options

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
OUTPUTS = (ROOT / "docs/outputs.md").read_text()
SCHEMA = json.loads((ROOT / "nextflow_schema.json").read_text())
PARAMETERS = {name for group in SCHEMA["$defs"].values() for name in group["properties"]}
PREDICTION = "cell_types/ID/prediction/model-M_alpha-A"
FOLDERS = r"(?:cohort|qc|embedding|clusters|pseudobulk|cell_types|composition|comparison|replication|sensitivity|pipeline_info)"
# Options of the engine, Java, scripts and benchmarks, and the placeholder for a parameter; all others are in the schema.
OTHER_OPTIONS = {
    # of pytest, and of the step PLAN_RUN
    "--dist",
    "--parts",
    "--to-reckon",
    "--designs",
    "--fits",
    "--add-opens",
    "--threads",
    # of sbatch and scancel
    "--account",
    "--batch",
    "--constraint",
    "--cpus-per-task",
    "--exclusive",
    "--job-name",
    "--mem",
    "--partition",
    "--qos",
    "--signal",
    "--time",
    "--user",
    "--name",
    "--results",
    "--truth",
    "--only",
    "--quick",
    "--model",
    "--output",
    "--cell-type",
    "--library",
    "--no-deps",
}


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def page(request):
    return request.param


def text_of(page: Path) -> str:
    """A page without the files that it tells a reader to make: they have options and a first line of their own."""
    text = page.read_text()
    return (
        re.sub(r"^```(?:python|groovy)$.*?^```$", "", text, flags=re.M | re.S)
        if page.name == "CONTRIBUTING.md"
        else text
    )


# --- every page ------------------------------------------------------------------------------------------------


def test_every_relative_link_resolves(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target.split("#")[0]).exists(), target


def test_files_that_are_named_exist(page):
    if page.name == "outputs.md":
        return  # its paths are in the results folder: see below
    # "New file `...`" says which file a reader is about to make.
    names = re.findall(
        r"(?<!file )`((?:bin|conf|containers|docs|functions|assets|tests|modules|subworkflows|\.ci)/[^`\s]*)`",
        page.read_text(),
    )
    for name in names:
        pattern = name.replace("STEP", "*").replace("PART", "*")
        assert list(ROOT.glob(pattern.rstrip("/"))), name


def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


def test_options_are_parameters(page):
    text = text_of(page)
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) - OTHER_OPTIONS
    assert {name.removeprefix("--") for name in named} <= PARAMETERS


def test_profiles_exist(page):
    config = (ROOT / "nextflow.config").read_text()
    profiles = set(re.findall(r"^    (\w+) \{ ", config, re.MULTILINE))
    assert {"test", "podman"} <= profiles
    for named in re.findall(r"-profile ([\w,]+)", page.read_text()):
        assert set(named.split(",")) <= profiles, named


def test_no_path_of_a_machine_and_no_registry_is_named(page):
    text = text_of(page)
    assert not re.findall(r"(?<![\w.:/])/(?:home|root|tmp|work|opt|usr|Users|mnt|srv)/", text)
    hosts = set(re.findall(r"https?://([^/\s)`]+)", text))
    assert hosts <= {
        *("doi.org", "maayanlab.cloud", "datasets.cellxgene.cziscience.com"),
        *("keepachangelog.com", "semver.org", "pre-commit.com"),
    }


def test_every_parameter_that_a_page_explains_exists():
    """Names in backticks with a default behind them, as methods.md writes them, carry the schema's default."""
    properties = {k: v for group in SCHEMA["$defs"].values() for k, v in group["properties"].items()}
    explained = re.findall(
        r"`([a-z]+_[a-z_]+)`\s\((\d[\d.]*)(?:[ ,;)][^)]*)?\)?", (ROOT / "docs/methods.md").read_text()
    )
    checked = {name: value for name, value in explained if name in properties}
    assert len(checked) >= 12
    for name, value in checked.items():
        default = properties[name]["default"]
        assert float(value) in (default, 100 * default), name


def test_parameters_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_parameters", ROOT / "docs/make_parameters.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert maker.PAGE.read_text() == maker.page(SCHEMA), "run docs/make_parameters.py"
    assert maker.with_defaults(SCHEMA, maker.defaults_of(maker.CONFIG.read_text())) == SCHEMA, (
        "defaults are written in nextflow.config; run docs/make_parameters.py"
    )
    assert all(f"| `{name}` |" in maker.page(SCHEMA) for name in PARAMETERS)


def test_the_readme_is_short_and_gives_the_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    for command in (
        "\nmake demo\nmake test\n",
        "./nextflow run main.nf -resume -params-file params.json",
        "**The test command:**\n\n```\nmake test\n```",
    ):
        assert command in text


def test_architecture_is_short_and_its_files_exist():
    text = (ROOT / "docs/architecture.md").read_text()
    assert len(text.split()) <= 1500
    for name in re.findall(
        r"`((?:task|cohort|cells|samples|embedding|statistics|prediction|simulation|figures|plan|report)/[\w.]*)`", text
    ):
        assert (ROOT / "bin/immune_aging" / name).exists(), name
    for folder in re.findall(r"^  (\w+)/ ", text, re.MULTILINE):
        assert (ROOT / "bin/immune_aging" / folder).is_dir(), folder


def test_every_decision_is_in_the_index():
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text()
    pages = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert re.findall(r"\]\((\d{4}-[^)]+)\)", index) == pages
    for page in pages:
        headings = re.findall(r"^## (.+)$", (folder / page).read_text(), re.MULTILINE)
        assert headings[:2] == ["Context", "Decision"] and "Consequences" in headings, page


def test_architecture_names_every_part_and_says_which_steps_have_a_lenient_cache():
    text = (ROOT / "docs/architecture.md").read_text()
    for path in sorted(ROOT.glob("subworkflows/local/*/main.nf")):
        assert re.search(rf"\b{path.parent.name}\b", text), path
    for step in sorted(path.parent.name for path in ROOT.glob("modules/local/*/main.nf")):
        lenient = "cache 'lenient'" in (ROOT / f"modules/local/{step}/main.nf").read_text()
        assert not lenient or f"`{step.upper()}`" in text, step


# --- outputs.md ------------------------------------------------------------------------------------------------


def documented_columns() -> dict[str, list[str]]:
    """Columns of each table that has a heading of its own."""
    tables: dict[str, list[str]] = {}
    for part in re.split(r"^### ", OUTPUTS, flags=re.MULTILINE)[1:]:
        heading = part.splitlines()[0]
        found = re.search(r"^\| column \| meaning \|\n\|---\|---\|\n((?:\|.*\n?)+)", part, re.MULTILINE)
        if found:
            columns = re.findall(r"^\| `([^`]+)` \|", found[1], re.MULTILINE)
            tables |= dict.fromkeys(re.findall(r"`([^`]+)`", heading), columns)
    return tables


def documented_files() -> set[str]:
    """Every path that outputs.md gives: headings, and first columns of tables of files. Figures by their .png."""
    files = set(documented_columns())
    for row in re.findall(r"^\| (`[^|]*[./][^|]*`) \|", OUTPUTS, re.MULTILINE):
        files |= {name for name in re.findall(r"`([^`]+)`", row) if re.search(r"\.\w+$", name)}
    return files


def in_documented_form(path: str) -> str:
    """A path as the modules write it, with the placeholders of outputs.md."""
    path = re.sub(r"model-\$\{[^}]*\}_alpha-\$\{[^}]*\}", "model-M_alpha-A", path)
    path = path.replace("cell_types/${meta.id}/", "cell_types/ID/").replace("cell_types/*/", "cell_types/ID/")
    path = path.replace("prediction/*/", "prediction/model-M_alpha-A/").replace(
        "${params.dataset}.h5ad", "DATASET.h5ad"
    )
    return re.sub(r"resolution-(?:\*|\$\{meta\.resolution\}|\d+\.\d+)", "resolution-R", path)


def spread(path: str) -> list[str]:
    """The paths that a path with {a,b} stands for in a shell."""
    braces = re.search(r"(?<!\$)\{([^{}$]*,[^{}$]*)\}", path)
    if not braces:
        return [path]
    return [one for choice in braces[1].split(",") for one in spread(path.replace(braces[0], choice, 1))]


def published_by_modules() -> set[str]:
    """Every single file below published/ that a module's process names."""
    found = set()
    for module in ROOT.glob("modules/local/*/main.nf"):
        text = module.read_text().replace("${folder}", f"published/{PREDICTION}")
        for path in re.findall(r"published/([\w./*${}\-,]+\.(?:\{[\w,]+\}|tsv|json|parquet|h5ad|png|pdf|html))", text):
            found |= {in_documented_form(one) for one in spread(path.rstrip(","))}
    return {path for path in found if "**" not in path and not re.match(r"\*", path)}


def by_modules_of_one_kind(path: str) -> str:
    return re.sub(r"(figures/.*)\.pdf$", r"\1.png", path)


def test_every_file_that_a_module_publishes_is_documented():
    found = {by_modules_of_one_kind(path) for path in published_by_modules()}
    assert len(found) > 30
    assert found - documented_files() == set()


@pytest.mark.parametrize("path", sorted(documented_files()))
def test_every_documented_file_is_written_by_the_code(path):
    sources = [*ROOT.glob("bin/**/*.py"), *ROOT.glob("modules/local/*/main.nf"), ROOT / "nextflow.config"]
    text = "\n".join(source.read_text() for source in sources)
    name = Path(path).name
    if path == "DATASET.h5ad":
        name = "published/${params.dataset}.h5ad"
    if "/figures/" in path:
        stem = Path(path).stem
        assert re.search(rf'["/]{stem}"', text) or f'"{stem.removeprefix("umap_")}"' in text, path
    elif path.startswith(PREDICTION):
        assert f'"{Path(path).stem}"' in text or name in text, path
    else:
        assert name in text, path


def columns_of(path: Path) -> list[str]:
    """Columns of a written table; of numbered components only the first."""
    if path.suffix == ".parquet":
        names = pq.read_schema(path).names
    else:
        names = list(pd.read_csv(path, sep="\t", nrows=0).columns)
    return [name for name in names if not re.fullmatch(r"(?:PC|H)(?!1$)\d+", name)]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    """Tables that the steps themselves write from small inputs, by their documented path."""
    folder = tmp_path_factory.mktemp("written")
    for area in ("cohort", "embedding"):
        command = [sys.executable, ROOT / f"tests/inputs/{area}_inputs.py", folder / area]
        subprocess.run(command, check=True, capture_output=True)
    cohort = folder / "cohort"
    before = Path.cwd()
    os.chdir(cohort)
    try:
        merge_pseudobulk.main(
            [*default_options("merge_pseudobulk"), "--parts", *sorted(map(str, cohort.glob("*_step-pseudobulk_sums.h5ad"))), "--donors", "donors.parquet",
             "--cell-types", "published/cohort/cell_types.tsv", "--prefix", "dataset-test", "--output", "published"]
        )  # fmt: skip
        simulate_cohort.main(
            ["--preset", "tiny", "--gene-sets", str(ROOT / "assets/gene_sets/h.all.v7.5.1.symbols.gmt"), "--output",
             "simulated.h5ad", "--truth", "published/cohort/simulated"]
        )  # fmt: skip
    finally:
        os.chdir(before)
    embedding = folder / "embedding"
    files = {f"cohort/simulated/{path.name}": path for path in (cohort / "published/cohort/simulated").iterdir()}
    files |= {"cohort/donors.tsv": cohort / "donors.tsv"}
    for name in (
        "cohort/cell_types.tsv",
        "qc/cells.parquet",
        "qc/summary.tsv",
        "qc/doublets.tsv",
        "qc/rules.tsv",
        "qc/rule_combinations.tsv",
        "qc/thresholds.tsv",
        "pseudobulk/samples.tsv",
    ):
        files[name] = cohort / "published" / name
    for name in (
        "genes.tsv",
        "pca.parquet",
        "pca_loadings.parquet",
        "pca_variance.tsv",
        "harmony.parquet",
        "umap.parquet",
    ):
        files[f"embedding/{name}"] = next(embedding.rglob(name))
    files["clusters/resolution-R/clusters.parquet"] = next(embedding.rglob("clusters.parquet"))
    return files


CONSTANTS = {
    "cohort/samples.tsv": filtering.SAMPLE_COLUMNS,
    "cell_types/ID/de.tsv": expression_tests.COLUMNS,
    "cell_types/ID/de_by_COLUMN.tsv": within_levels.COLUMNS,
    "cell_types/ID/de_curve.tsv": curves.COLUMNS,
    "cell_types/ID/de_curve_points.tsv": curves.POINT_COLUMNS,
    "cell_types/ID/de_contrasts.tsv": ("contrast", *expression_tests.COLUMNS),
    "cell_types/ID/expression_by_age.tsv": (*genes_by_age.DONOR_COLUMNS, "GENE_ID"),
    "cell_types/ID/gsea.tsv": enrichment.COLUMNS,
    "embedding/mixing.tsv": mixing.TABLE,
    "embedding/umap_sample.tsv": (*map_sample.COLUMNS, f"{map_sample.CLUSTER}R", f"{map_sample.GENE}GENE"),
    "cell_types/ID/ora_up.tsv": overrepresentation.COLUMNS,
    "cell_types/ID/ora_down.tsv": overrepresentation.COLUMNS,
    f"{PREDICTION}/predictions.tsv": training.PREDICTIONS,
    f"{PREDICTION}/metrics.tsv": age_metrics.METRICS,
    f"{PREDICTION}/coefficients.tsv": training.COEFFICIENTS,
    "pipeline_info/files.tsv": tuple(results.file_table(results.Results({})).columns),
    "sensitivity/sensitivity.tsv": sensitivity.COLUMNS,
    "sensitivity/cells.tsv": sensitivity.CELL_COLUMNS,
    "sensitivity/genes.parquet": ("variant", "id", *sensitivity.GENE_COLUMNS),
    "prediction_summary.tsv": summary.COLUMNS,
    "composition/composition.tsv": composition.COLUMNS,
    "composition/proportions.tsv": composition.PROPORTIONS,
    "comparison/shared_ageing.tsv": (*comparison.SHARED, "lfc_ID"),
    "comparison/gsea_nes.tsv": (*comparison.SETS, "nes_ID", "q_ID"),
    "comparison/power.tsv": power.POWER,
    "replication/effects.tsv": (*cohort_comparison.EFFECT_TABLE, "effect_COHORT", "se_COHORT", "padj_COHORT"),
    "replication/discoveries.tsv": cohort_comparison.DISCOVERY_TABLE,
    "replication/rates.tsv": cohort_comparison.RATE_TABLE,
    "replication/concordance.tsv": cohort_comparison.CONCORDANCE_TABLE,
    "replication/shared_donors.tsv": shared_donors.COLUMNS,
    "published_clocks/clock_ages.tsv": clocks.AGES,
    "published_clocks/clock_metrics.tsv": clocks.METRICS,
    "immune_age/immune_age.tsv": immune_age.COLUMNS,
    "immune_age/immune_age_metrics.tsv": age_metrics.METRICS,
    "immune_age/immune_age_weights.tsv": immune_age.WEIGHTS,
    "immune_age/age_acceleration_tests.tsv": immune_age.TESTS,
}


@pytest.mark.long
@pytest.mark.parametrize("path", sorted(documented_columns()))
def test_columns_are_those_that_the_code_writes_in_their_order(path, written):
    real = list(CONSTANTS[path]) if path in CONSTANTS else columns_of(written[path])
    assert documented_columns()[path] == real


@pytest.mark.long
def test_every_table_that_the_steps_write_has_its_columns_documented(written):
    tables = {
        path for path in documented_files() if re.match(rf"{FOLDERS}/", path) and path.endswith((".tsv", ".parquet"))
    }
    assert tables - set(documented_columns()) == {"pipeline_info/trace.tsv"}
    simulated = {path for path in written if path.endswith((".tsv", ".parquet"))}
    assert simulated <= set(documented_columns())
    assert {path for path in written if path.endswith(".json")} <= documented_files()
