"""Parameters: one schema drives help and checks, and a wrong one stops the run before any task, with one line."""

import json
import os
import re
import subprocess

import pytest

from engine import ROOT, nextflow
from immune_aging.cells.variants import CHANGES

SCHEMA = json.loads((ROOT / "nextflow_schema.json").read_text())
ENTRIES = {name: entry for group in SCHEMA["$defs"].values() for name, entry in group["properties"].items()}
DEFAULTS = {
    **{name: entry.get("default") for name, entry in ENTRIES.items()},
    "gene_sets": str(ROOT / "assets/gene_sets/h.all.v7.5.1.symbols.gmt"),
    "gene_symbols": str(ROOT / "assets/genes/gencode_v48_human.tsv.gz"), "download_dir": "downloads", "simulate": "tiny",
}  # fmt: skip
VERSION = re.search(r"^    version +\S+ '(.+)'$", (ROOT / "nextflow.config").read_text(), re.M)[1]

BAD = [
    ({"min_gene": 3}, "--min_gene: there is no such parameter; did you mean --min_genes?"),
    ({"minGenes": 3}, "--minGenes: there is no such parameter; did you mean --min_genes?"),
    ({"leiden_resolution": 1}, "did you mean --leiden_resolutions?"),
    ({"max_genes": "abc"}, "--max_genes abc: must be a whole number"),
    ({"max_genes": 10.5}, "--max_genes 10.5: must be a whole number"),
    ({"max_pct_mito": 101}, "--max_pct_mito 101: must be at most 100"),
    ({"max_pct_mito": -1}, "--max_pct_mito -1: must be at least 0"),
    ({"expected_doublet_rate": 1}, "--expected_doublet_rate 1: must be less than 1"),
    ({"min_genes": True}, "--min_genes true: must be a whole number"),
    ({"dataset": "my data"}, "--dataset my data: must match"),
    ({"dataset": "$(touch x)"}, "--dataset $(touch x): must match"),
    ({"sha256": "123"}, "--sha256 123: must match"),
    ({"de_method": "pydeseq"}, "must be one of pydeseq2, voom; did you mean pydeseq2?"),
    ({"stop_after": "umap"}, "must be one of qc, embedding, clusters, pseudobulk"),
    ({"prediction_models": "ridge,lasso"}, "--prediction_models lasso: must be one of"),
    ({"ridge_alphas": [1, 0]}, "--ridge_alphas 0: must be more than 0"),
    ({"elastic_net_alphas": "0.1,x"}, "--elastic_net_alphas x: must be a number"),
    ({"acceleration_columns": "sex,a'b"}, "--acceleration_columns a'b: must match"),
    ({"published_clocks": "nowhere"}, "--published_clocks nowhere: there is no such file"),
    ({"ridge_alphas": []}, "--ridge_alphas : the list is empty"),
    (
        {"ridge_alphas": None, "nested_alphas": False},
        "--ridge_alphas: has no penalty and --nested_alphas is false, so ridge is not fitted at all; give penalties",
    ),
    (
        {"prediction_models": "ridge,linear_svr", "svr_alphas": None, "nested_alphas": False},
        "--svr_alphas: has no penalty and --nested_alphas is false, so linear_svr is not fitted at all",
    ),
    ({"leiden_resolutions": "1,x"}, "--leiden_resolutions x: must be a number"),
    (
        {"simulate": None, "input": "http://x.org/y.h5ad"},
        "--input http://x.org/y.h5ad: only https:// is protected on the way; give such an address, or --allow_http true",
    ),
    ({"enrichr_url": "http://x.org"}, "--enrichr_url http://x.org: only https:// is protected on the way"),
    ({"simulate": None, "input": "a\nb.h5ad"}, "--input a b.h5ad: has a line break in its name; rename it"),
    ({"max_memory": "lots"}, "--max_memory lots: must match"),
    ({"slurm_queue": "a b"}, "--slurm_queue a b: must match"),
    ({"slurm_options": "--x\n#SBATCH --y"}, "must match"),
    ({"strict": "yes"}, "--strict yes: must be true or false"),
    ({"outdir": True}, "--outdir: needs a value"),
    ({"min_genes": 7000}, "--min_genes 7000: is more than --max_genes 6000"),
    ({"min_counts": 50000}, "--min_counts 50000: is more than --max_counts 30000"),
    ({"gene_set_min_size": 2000}, "is more than --gene_set_max_size 1000"),
    ({"design": "sex + age"}, "--design sex + age: must match"),
    (
        {"age_column": "none"},
        "--age_column none: the question must be named, because the default one is about age; give --design and --test_term",
    ),
    ({"age_column": "none", "design": "~ condition"}, "--age_column none: the question must be named"),
    ({"age_column": "none", "test_term": "condition"}, "--age_column none: the question must be named"),
    ({"simulate": None}, "nothing to analyse is given"),
    ({"input": "x.h5ad", "simulate": None}, "--input x.h5ad: there is no such file"),
    ({"input": str(ROOT / "main.nf")}, "--input and --simulate are given"),
    ({"simulate": None, "pseudobulk": "x.h5ad"}, "--pseudobulk x.h5ad: there is no such file"),
    (
        {"simulate": None, "pseudobulk": str(ROOT / "main.nf"), "stop_after": "qc"},
        "--stop_after qc: has nothing to do with --pseudobulk",
    ),
    (
        {"skip_embedding": True, "stop_after": "embedding"},
        "--stop_after embedding: is left out by --skip_embedding; leave out one of them, or stop after qc or pseudobulk",
    ),
    ({"skip_embedding": "true", "stop_after": "clusters"}, "--stop_after clusters: is left out by --skip_embedding"),
    ({"skip_embedding": "yes"}, "--skip_embedding yes: must be true or false"),
    ({"qc_thresholds": "mads"}, "--qc_thresholds mads: must be one of fixed, mad; did you mean mad?"),
    ({"mad_group": "a'b"}, "--mad_group a'b: must match"),
    ({"doublet_rate_per_1000": 1.5}, "--doublet_rate_per_1000 1.5: must be less than 1"),
    ({"sensitivity": "max_pct_mito"}, "--sensitivity max_pct_mito: must match"),
    (
        {"sensitivity": "min_genes=1;rm -rf"},
        "--sensitivity 'min_genes=1;rm -rf': min_genes 1;rm -rf: must be a whole number",
    ),
    (
        {"sensitivity": "min_gene=300"},
        "--sensitivity 'min_gene=300': min_gene: cannot be varied; did you mean min_genes?",
    ),
    ({"doublet_method": "solo"}, "--doublet_method solo: must be one of scrublet, none; did you mean"),
    ({"doublet_column": "a'b"}, "--doublet_column a'b: must match"),
    (
        {"sensitivity": "max_doublet_score=0.2", "doublet_method": "none"},
        "--sensitivity 'max_doublet_score=0.2': needs Scrublet's scores, which a run with --doublet_method none has not",
    ),
    (
        {"hvg_flavor": "seurat"},
        "--hvg_flavor seurat: must be one of seurat_v3, pearson_residuals; did you mean seurat_v3?",
    ),
    ({"integration": "scvi"}, "--integration scvi: must be one of harmony, none"),
    ({"sensitivity": ["doublets=some"]}, "doublets some: must be one of keep, drop"),
    ({"sensitivity": "strict: max_pct_mito=10 & max_pct_hb=101"}, "max_pct_hb 101: must be at most 100"),
    ({"sensitivity": "min_genes=7000"}, "min_genes 7000 is more than max_genes 6000"),
    ({"sensitivity": "max_pct_mito=10,max_pct_mito= 10"}, "the name 'max_pct_mito_10' stands there twice"),
    ({"sensitivity": "base: max_pct_mito=10"}, "the name 'base' is that of the run itself"),
    ({"sensitivity": "doublets=keep", "stop_after": "qc"}, "before which --stop_after qc ends"),
    (
        {"simulate": None, "pseudobulk": str(ROOT / "main.nf"), "sensitivity": ["design=~ age", "doublets=keep"]},
        "--sensitivity 'doublets=keep': needs cells, which --pseudobulk has not",
    ),
    ({"pseudobulk": str(ROOT / "docs"), "simulate": None}, "is a folder, but an .h5ad file is needed"),
    ({"input": "small.h5ad", "outdir": "small.h5ad", "simulate": None}, "--outdir small.h5ad: is the input itself"),
    (
        {"input": "small.h5ad", "outdir": ".", "dataset": "small", "simulate": None},
        "--outdir .: the run would write its own small.h5ad over --input small.h5ad",
    ),
    (
        {"input": "store.zarr", "outdir": "store.zarr/results", "simulate": None},
        "--outdir store.zarr/results: lies in the folder of --input store.zarr",
    ),
    (
        {"pseudobulk": "old/pseudobulk/pseudobulk.h5ad", "outdir": "old", "simulate": None},
        "the run would write its own pseudobulk.h5ad over --pseudobulk",
    ),
    ({"outdir": "small.h5ad"}, "--outdir small.h5ad: is a file; name a folder"),
    (
        {"pseudobulk": "small.h5ad", "export_h5ad": True, "simulate": None},
        "--export_h5ad: needs cells, which --pseudobulk has not",
    ),
    (
        {"simulate": None, "start_from": "nowhere"},
        "--start_from nowhere: there is no such folder; give the results of a",
    ),
    (
        {"simulate": None, "start_from": "old"},
        "--start_from old: has no pipeline_info/params.json, which a run of this version writes at its end",
    ),
    (
        {"simulate": None, "start_from": "old", "pseudobulk": "small.h5ad"},
        "--start_from old: has nothing to do with --pseudobulk, which is a start of its own; leave one out",
    ),
    ({"simulate": None, "start_from": "half"}, "--start_from half: its pipeline_info cannot be read ("),
    (
        {"compare_with": "nowhere"},
        "--compare_with nowhere: there is no such folder; give the results folder of a run on",
    ),
    (
        {"compare_with": ["other", "old"]},
        "--compare_with old: has no pipeline_info/files.tsv, which a run of this version",
    ),
    (
        {"compare_with": "other", "outdir": "other"},
        "--compare_with other: is the --outdir of this run; give the results of",
    ),
    ({"compare_with": "other,other/."}, "--compare_with other/.: is given twice; give each cohort once"),
    (
        {"compare_with": "unfinished"},
        "--compare_with unfinished: its run published no differential expression; give the",
    ),
    ({"compare_with": "half"}, "--compare_with half: its pipeline_info cannot be read ("),
    (
        {"compare_with": "outdated"},
        "--compare_with outdated: was made with version 0.1.0 of the pipeline, this is",
    ),
    (
        {"compare_with": "other", "stop_after": "pseudobulk"},
        "--compare_with: compares statistics, before which --stop_after pseudobulk ends; leave out one of them",
    ),
    ({"gene_symbols": "/no/such.tsv"}, "--gene_symbols /no/such.tsv: there is no such file; check the path"),
    ({"genes": "outer"}, "--genes outer: must be one of intersection, union"),
    (
        {"input": "https://example.org/cohort.csv", "simulate": None},
        "--input https://example.org/cohort.csv: is a table of files at an address; download it",
    ),
    ({"donor_table": "/no/such.csv"}, "--donor_table /no/such.csv: there is no such file; check the path"),
    ({"gene_sets": "/no/such.gmt"}, "--gene_sets /no/such.gmt: there is no such file"),
]
GOOD = [
    {}, {"min_genes": "200"}, {"max_pct_mito": 12.5}, {"ridge_alphas": 5}, {"ridge_alphas": "0.1, 1"}, {"leiden_resolutions": [0.5, 1]},
    {"dataset": "onek1k-2"}, {"strict": "true"}, {"gene_sets": "MSigDB_Hallmark_2020"}, {"design": "~ pool + sex + age"},
    {"simulate": None, "input": "https://example.org/x.h5ad"}, {"simulate": None, "input": "store.zarr"}, {"design": "~ bmi", "test_term": "bmi"},
    {"qc_thresholds": "mad", "mad_group": "pool", "mad_cutoff": 3}, {"doublet_rate_per_1000": 0.008, "doublet_rate_column": "rate"},
    {"sensitivity": "strict: max_pct_mito=10 & min_genes=500,doublets=keep"},
    {"simulate": None, "input": "small.h5ad", "outdir": "results", "dataset": "small"},
    {"doublet_method": "none"}, {"doublet_column": "DF.classifications_0.25_0.09", "sensitivity": "doublets=keep"},
    {"hvg_flavor": "pearson_residuals", "integration": "none"}, {"donors": "common", "min_donor_fraction": 0.5},
    {"skip_embedding": True}, {"skip_embedding": True, "stop_after": "qc"}, {"skip_embedding": True, "stop_after": "pseudobulk"},
    {"skip_embedding": "false", "stop_after": "embedding"},
    {"age_column": "none", "sex_column": "none", "design": "~ donor + condition", "test_term": "condition"},
    {"age_column": "none", "stop_after": "pseudobulk"}, {"sex_column": "none"}, {"age_column": "none", "design": "~ age", "test_term": "age"},
    {"compare_with": "other"}, {"compare_with": ["other"]}, {"compare_with": "other", "donors": "common"},
    {"sensitivity": ["design=~ age + sex:age", "mad: mad_cutoff=3", "max_doublet_score=0.2"]},
]  # fmt: skip
# Whatever VARY_QC can change can be asked for.
GOOD += [
    {"sensitivity": f"{name}={value}"}
    for name, value in {
        **dict.fromkeys(CHANGES, 3), "max_genes": 9000, "max_counts": 90000, "max_doublet_score": 0.2, "doublets": "keep",
    }.items()
]  # fmt: skip
FAN_OUTS = [
    {},
    {"prediction_models": "ridge,elastic_net, ridge", "elastic_net_alphas": 0.5, "ridge_alphas": "1,1.0,0.1", "stop_after": "clusters"},
    {"prediction_models": ["linear_svr"], "ridge_alphas": [3], "nested_alphas": False, "simulate": None, "pseudobulk": "x.h5ad"},
    {"sensitivity": ["strict: max_pct_mito=10 & design = ~ age", "design=~ age"]},
    {"skip_embedding": True}, {"skip_embedding": "true", "stop_after": "qc"}, {"skip_embedding": "false"},
    {"skip_embedding": True, "simulate": None, "pseudobulk": "x.h5ad"},
    {"age_column": "none", "prediction_models": "ridge,elastic_net"},
    {"simulate": None, "start_from": "old"}, {"simulate": None, "start_from": "old", "input": "small.h5ad"},
]  # fmt: skip
# The files that come with the pipeline must pass as they are.
GOOD.append({"simulate": None} | json.loads((ROOT / "params.json").read_text()))
GOOD.append(json.loads((ROOT / "conf/onek1k_40donors.json").read_text()))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the engine's own check says of every set of parameters above, in one start of the engine."""
    folder = tmp_path_factory.mktemp("parameters")
    for name in ("store.zarr/.zgroup", "small.h5ad", "old/pseudobulk/pseudobulk.h5ad"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name in ("params.json", "made_from.json", "versions.json", "files.tsv"):
        (folder / "half/pipeline_info").mkdir(parents=True, exist_ok=True)
        (folder / "half/pipeline_info" / name).write_text("{")
    listed = "file\tbytes\tsha256\ncell_types/b_cell/de.tsv\t1\tx\npseudobulk/samples.tsv\t1\tx\n"
    (folder / "version.config").write_text(f"manifest.version = '{VERSION}'\n")
    for name, version, files in (
        ("other", VERSION, listed), ("outdated", "0.1.0", listed), ("unfinished", VERSION, "file\tbytes\tsha256\n"),
    ):  # fmt: skip
        info = folder / name / "pipeline_info"
        info.mkdir(parents=True)
        (info / "made_from.json").write_text(json.dumps({"pipeline": version}))
        (info / "files.tsv").write_text(files)
    numbers = ["1,1.00,0.1,10", [0.5, 1], 2, "1e-3"]
    cases = {"defaults": DEFAULTS, "sets": [case for case, _ in BAD] + GOOD, "numbers": numbers, "fan_outs": FAN_OUTS}
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [
        str(ROOT / "nextflow"), "-q", "run", str(ROOT / "tests/parameters/main.nf"), "--cases", "cases.json", "--found",
        str(folder / "found.json"), "-c", str(folder / "version.config"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("number", range(len(BAD)), ids=[f"{list(case)[-1]}-{i}" for i, (case, _) in enumerate(BAD)])
def test_a_wrong_parameter_is_named_with_the_remedy(found, number):
    problems = found["problems"][number]
    assert len(problems) == 1 and BAD[number][1] in problems[0], problems


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_right_parameters_pass(found, number):
    assert found["problems"][len(BAD) + number] == []


def test_equal_numbers_of_a_list_are_one_task(found):
    assert found["numbers"] == [["1.0", "0.1", "10.0"], ["0.5", "1.0"], ["2.0"], ["0.001"]]


def test_parts_are_those_up_to_the_last_and_a_table_has_no_cells(found):
    whole, until_clusters, table = (fan_out["parts"] for fan_out in found["fan_outs"][:3])
    assert whole == ["qc", "embedding", "clusters", "pseudobulk", "statistics"]
    assert until_clusters == ["qc", "embedding", "clusters"]
    assert table == ["pseudobulk", "statistics"]
    assert ENTRIES["stop_after"]["enum"] == whole[:-1]


def test_the_statistics_need_no_embedding(found):
    without, until_qc, whole, table = (fan_out["parts"] for fan_out in found["fan_outs"][4:8])
    assert without == ["qc", "pseudobulk", "statistics"] and until_qc == ["qc"]
    assert "clusters" in whole and table == ["pseudobulk", "statistics"]


def test_an_earlier_runs_results_are_a_table_of_samples_unless_cells_are_given(found):
    alone, with_cells = (fan_out["parts"] for fan_out in found["fan_outs"][9:11])
    assert alone == ["pseudobulk", "statistics"] and with_cells == found["fan_outs"][0]["parts"]


def test_where_donors_have_no_ages_none_is_predicted(found):
    assert found["fan_outs"][8]["fits"] == [] and "statistics" in found["fan_outs"][8]["parts"]


def test_each_model_is_fitted_with_its_own_penalties_and_the_nested_choice(found):
    fits = [[(fit["model"], fit["alpha"]) for fit in fan_out["fits"]] for fan_out in found["fan_outs"]]
    assert fits[0] == [("ridge", alpha) for alpha in ("1", "3", "10", "30", "nested")]
    assert fits[1] == [
        ("ridge", "1"), ("ridge", "0.1"), ("ridge", "nested"), ("elastic_net", "0.5"), ("elastic_net", "nested"),
    ]  # fmt: skip
    assert fits[2] == [("linear_svr", alpha) for alpha in ("0.01", "0.1", "1")], "ridge's penalties are its own"


def test_a_variant_says_what_it_changes_and_whether_that_is_which_cells_there_are(found):
    strict, design = found["fan_outs"][3]["variants"]
    assert strict["id"] == "strict" and strict["cells"]
    assert strict["settings"] == {"max_pct_mito": "10", "design": "~ age"}
    assert design["id"] == "design_age" and not design["cells"]


def test_help_lists_every_parameter_under_its_group(found):
    for group in SCHEMA["$defs"].values():
        assert f"\n{group['title']}\n" in found["help"]
    for name, entry in ENTRIES.items():
        assert re.search(rf"^  --{name}\s+{re.escape(entry['description'])}$", found["help"], re.MULTILINE), name


def test_defaults_of_the_schema_are_those_in_effect(tmp_path):
    done = subprocess.run(
        [str(ROOT / "nextflow"), "config", "-flat", str(ROOT)], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    effective = dict(re.findall(r"^params\.(\w+) = (.*)$", done.stdout, re.MULTILINE))
    computed = {"gene_sets", "gene_symbols", "download_dir"}
    assert set(effective) == set(ENTRIES)
    for name, entry in ENTRIES.items():
        if name not in computed:
            assert effective[name].strip("'") == json.dumps(entry.get("default")).strip('"'), name


def test_the_full_parameters_file_holds_only_parameters_of_the_schema():
    for path in (ROOT / "params.json", ROOT / "conf/onek1k_40donors.json"):
        assert set(json.loads(path.read_text())) <= set(ENTRIES)
    assert json.loads((ROOT / "params.json").read_text())["input"].startswith(
        "https://datasets.cellxgene.cziscience.com/"
    )


@pytest.mark.long
def test_wrong_parameters_stop_the_run_before_any_task_with_one_line_for_all(tmp_path):
    done = nextflow(tmp_path, "-profile", "test", "--inptu", "x", "--min_genes", "many", "--max_pct_hb", "200")
    output = done.stdout + done.stderr
    assert done.returncode == 2
    lines = [line for line in output.splitlines() if "ERROR" in line]
    assert len(lines) == 1, output
    assert "--inptu: there is no such parameter; did you mean --input?" in lines[0]
    assert "--min_genes many: must be a whole number | --max_pct_hb 200" in lines[0]
    assert not (tmp_path / "work").exists() or not any(os.scandir(tmp_path / "work"))


@pytest.mark.long
def test_help_runs_no_task(tmp_path):
    done = nextflow(tmp_path, "--help")
    assert done.returncode == 0 and "--leiden_resolutions" in done.stdout
    warnings = [line for line in (tmp_path / ".nextflow.log").read_text().splitlines() if " WARN " in line]
    assert not [line for line in warnings if "No 'plugins' root" not in line], "what the engine warns of in every run"
    assert "WARN" not in done.stdout + done.stderr
    assert not any(os.scandir(tmp_path / "work")) and not (tmp_path / "results").exists()
