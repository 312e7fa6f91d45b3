"""A gene that not all files measure has the row of a run with the samples that measure it, and changes no other row.

Named here: `some_files`.
"""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from de_step import run_step
from immune_aging.cohort.gene_groups import SOME_FILES
from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.statistics.some_files import MAX_SUBSETS, joined, of_all_files, subsets
from immune_aging.task.checkpoints import read_tsv, write_h5ad
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import simulate_samples

N_DONORS, N_GENES = 36, 160
PARTLY = np.arange(
    3, N_GENES, 8
)  # genes that the second file lacks: some rise or fall with age, the last have no counts
OWN = ["n_samples", "in_all_files"]


@pytest.fixture(scope="module")
def cohort():
    """Samples of two files, and which are of the first; the files' ages differ, so that one SD of age is another."""
    adata, _ = simulate_samples(n_donors=N_DONORS, n_genes=N_GENES, seed=4)
    return adata, (adata.obs["age_years"] > np.sort(adata.obs["age_years"])[N_DONORS // 3]).to_numpy()


def in_union(adata: anndata.AnnData, measured: np.ndarray, genes: np.ndarray = PARTLY) -> anndata.AnnData:
    """The table of samples with these genes apart, missing where they were not measured.

    Parameters
    ----------
    measured
        Samples, or samples x `genes`.
    """
    table = np.delete(np.arange(adata.n_vars), genes)
    counts = np.asarray(adata.X.todense() if sparse.issparse(adata.X) else adata.X, dtype=float)[:, genes]
    union = adata[:, table].copy()
    shape = measured[:, None] if measured.ndim == 1 else measured
    union.obsm[SOME_FILES] = sparse.csr_matrix(np.where(shape, counts, np.nan))
    union.uns[SOME_FILES] = {
        "gene_id": adata.var_names[genes].to_numpy(dtype=object), "symbol": adata.var["symbol"].to_numpy(dtype=object)[genes]
    }  # fmt: skip
    return union


@pytest.fixture(scope="module", params=["pydeseq2", "voom"])
def tables(request, cohort, tmp_path_factory):
    """de.tsv and summary of the union, of the genes of both files, and of the samples of the first file."""
    adata, first = cohort
    folder, method = tmp_path_factory.mktemp("de"), ("--method", request.param)
    union = in_union(adata, first)
    alone = adata[first].copy()
    shared = adata[:, np.delete(np.arange(N_GENES), PARTLY)].copy()
    runs = {"union": union, "shared": shared, "alone": alone}
    return {name: run_step(folder / name, table, *method) for name, table in runs.items()}, adata, first


def test_no_other_gene_changes_by_a_byte(tables):
    found, *_ = tables
    table, summary = found["union"]
    same = of_all_files(table)
    pd.testing.assert_frame_equal(same.drop(columns=OWN), found["shared"][0], check_exact=True)
    assert set(same["n_samples"]) == {summary["n_samples"]} == {N_DONORS}


def test_a_gene_of_one_file_has_the_row_of_a_run_with_its_samples_alone(tables):
    found, adata, first = tables
    table, summary = found["union"]
    own = table[~table["in_all_files"]].set_index("gene_id")
    expected = found["alone"][0].set_index("gene_id")
    names = [gene for gene in expected.index if gene in set(adata.var_names[PARTLY])]
    assert sorted(own.index) == sorted(names) and len(names) > 10
    assert (own["p_value"] < 0.001).any(), "some of them do change"
    expected = expected.loc[own.index]
    for column in ("symbol", "base_mean", "stat", "p_value", "lfc_per_unit", "lfc_per_decade", "p_value_companion"):
        pd.testing.assert_series_equal(own[column], expected[column], check_exact=True)
    ratio = summary["test_term_sd"] / found["alone"][1]["test_term_sd"]
    assert abs(ratio - 1) > 0.1, "effects are per SD of age, of all samples"
    for column in ("log2_fold_change", "lfc_se", "log2_fold_change_companion"):
        np.testing.assert_allclose(own[column], expected[column] * ratio, rtol=2e-5)
    assert set(own["n_samples"]) == {first.sum()} == {found["alone"][1]["n_samples"]}


def test_the_summary_counts_and_says_it(tables):
    (table, summary), (_, shared) = tables[0]["union"], tables[0]["shared"]
    said = summary["genes_of_some_files"]
    assert said["n_genes"] == len(PARTLY) == said["n_tested"] + said["n_low_count"] + sum(said["left_out"].values())
    assert summary["n_tested"] == len(table) == shared["n_tested"] + said["n_tested"]
    assert summary["n_robust"] == table["robust"].sum()
    [note] = [text for text in summary["warnings"] if "not measured in all files" in text]
    assert (
        f"{said['n_tested']} are tested among the samples that measure them ({said['samples'][0]['n_samples']} of"
        in note
    )


def test_a_zero_that_was_measured_stays_a_zero(cohort, tmp_path):
    """A gene with counts in a third of the samples that measure it; its zeros are tested as zeros."""
    adata, first = cohort
    counts = np.asarray(adata.X.todense() if sparse.issparse(adata.X) else adata.X).copy()
    counts[np.flatnonzero(first)[::3], PARTLY[0]] = 0
    adata = anndata.AnnData(sparse.csr_matrix(counts), adata.obs.copy(), adata.var.copy())
    write_h5ad(in_union(adata, first), tmp_path / "x.h5ad")
    [subset] = subsets(read_samples(tmp_path / "x.h5ad"))
    gene = subset.table.gene_ids.get_loc(adata.var_names[PARTLY[0]])
    own = pd.Series(counts[first, PARTLY[0]], adata.obs_names[first]).sort_index()
    assert subset.table.counts[:, gene].tolist() == own.tolist() and (own == 0).sum() >= 8


def test_genes_of_several_files_are_tested_in_all_samples_that_measure_them(cohort, tmp_path):
    """Three files; some genes are in two of them, some in one, one in all samples of this cell type, one in none."""
    adata, _ = cohort
    file = np.arange(N_DONORS) % 3
    measured = np.column_stack([file != 2 if i % 2 else file == 0 for i in range(len(PARTLY))])
    measured[:, 0], measured[:, 1] = True, False
    table, summary = run_step(tmp_path / "union", in_union(adata, measured), "--method", "voom")
    said = summary["genes_of_some_files"]
    assert [one["n_samples"] for one in said["samples"]] in ([24, 12, 36], [12, 24, 36])
    assert said["left_out"] == {"no sample was measured for them": 1}
    for files, odd in (((0, 1), 1), ((0,), 0)):
        here, own = np.isin(file, files), [i for i in range(2, len(PARTLY)) if i % 2 == odd]
        lacking = np.setdiff1d(np.arange(len(PARTLY)), [0, *(i for i in range(2, len(PARTLY)) if i % 2 or odd == 0)])
        alone = adata[here][:, np.delete(np.arange(N_GENES), PARTLY[lacking])].copy()
        expected = run_step(tmp_path / str(odd), alone, "--method", "voom")[0].set_index("gene_id")
        names = [gene for gene in adata.var_names[PARTLY[own]] if gene in expected.index]
        found = table.set_index("gene_id").loc[names]
        pd.testing.assert_series_equal(found["p_value"], expected.loc[names, "p_value"], check_exact=True)


# What is wrong with the samples that measure the genes, and what is said.
LEFT_OUT = {
    "too few": (lambda obs: np.arange(len(obs)) < 5, (), "samples"),
    "one level": (lambda obs: (obs["sex"] == "male").to_numpy(), ("--test-term", "sex"), "sex"),
    "constant": (lambda obs: (obs["sex"] == "male").to_numpy(), ("--design", "~ age + sex"), "'sex' has one value"),
    "another contrast": (
        lambda obs: (obs["pool"] != "pool2").to_numpy(),
        ("--design", "~ pool", "--test-term", "pool", "--contrast", "pool2 vs pool0"),
        "has no 'pool2' in these samples",
    ),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_genes_whose_samples_do_not_carry_the_question_are_counted_with_the_reason(kind, cohort, tmp_path):
    choose, options, reason = LEFT_OUT[kind]
    adata, _ = cohort
    table, summary = run_step(tmp_path, in_union(adata, choose(adata.obs)), "--method", "voom", *options)
    assert table["in_all_files"].all()
    [(said, n)] = summary["genes_of_some_files"]["left_out"].items()
    assert n == len(PARTLY) and reason in said
    assert any(f"{n} are not tested ({n}: {said})" in text for text in summary["warnings"])


def test_contrasts_have_the_genes_of_some_files_where_their_samples_have_the_levels(cohort, tmp_path):
    adata, _ = cohort
    union = in_union(adata, adata.obs["pool"].isin(["pool0", "pool1"]).to_numpy())
    table, _ = run_step(tmp_path, union, "--method", "voom", "--design", "~ pool", "--test-term", "pool")
    contrasts = read_tsv(tmp_path / "de_contrasts.tsv")
    own = contrasts[~contrasts["in_all_files"]]
    assert set(own["contrast"]) == {"pool1 against pool0"} and contrasts["contrast"].nunique() == 3
    pd.testing.assert_frame_equal(
        contrasts[contrasts["contrast"] == "pool1 against pool0"].drop(columns="contrast").reset_index(drop=True), table
    )


def test_of_very_many_sets_of_samples_only_the_largest_are_tested(cohort, tmp_path):
    """Files that were filtered by expression each by itself: nearly every gene has its own samples."""
    adata, _ = cohort
    genes = np.arange(0, 60)
    measured = np.random.default_rng(0).random((N_DONORS, len(genes))) < 0.7
    measured[:, :20] = measured[:, :1]
    _, summary = run_step(tmp_path, in_union(adata, measured, genes), "--method", "voom")
    said = summary["genes_of_some_files"]
    assert len([one for one in said["samples"] if not one["reason"]]) == MAX_SUBSETS
    assert said["samples"][0]["n_genes"] == 20
    assert list(said["left_out"]) == [
        f"only the {MAX_SUBSETS} largest groups of genes with the same samples are tested"
    ]
    assert said["n_genes"] == said["n_tested"] + said["n_low_count"] + sum(said["left_out"].values())


@pytest.mark.long
def test_genes_of_some_files_hold_their_rate_without_an_effect(tmp_path):
    """Half of the donors, ages permuted: p < .05 in about 5 % of the genes."""
    p_values, calls = [], []
    for seed in range(3):
        adata, _ = simulate_samples(n_donors=40, n_genes=500, lfc_per_sd=0, seed=seed)
        adata.obs["age_years"] = np.random.default_rng(seed).permutation(adata.obs["age_years"])
        union = in_union(adata, np.arange(40) < 20, np.arange(0, 400, 2))
        table, _ = run_step(tmp_path / str(seed), union, "--method", "voom")
        own = table[~table["in_all_files"]]
        p_values += own["p_value"].tolist()
        calls.append(int((own["padj"] < 0.05).sum()))
    assert len(p_values) > 500 and 0.02 < np.mean(np.array(p_values) < 0.05) < 0.08, np.mean(np.array(p_values) < 0.05)
    assert sum(calls) <= 2


def test_padj_of_genes_of_some_files_is_adjusted_among_themselves():
    base = pd.DataFrame(
        {"gene_id": ["a", "b"], "p_value": [0.01, 0.2], "padj": [0.02, 0.2], "padj_companion": np.nan, "robust": False}
    )
    more = base.assign(
        gene_id=["c", "d"], p_value=[0.001, 0.03], p_value_companion=[0.01, 0.2], log2_fold_change=1.0,
        log2_fold_change_companion=1.0, n_samples=9, in_all_files=False,
    )  # fmt: skip
    found = joined(base, [more.iloc[:1], more.iloc[1:]], n_samples=20).set_index("gene_id")
    assert found.index.tolist() == ["c", "a", "d", "b"]
    assert found["padj"].to_dict() == {"c": 0.002, "a": 0.02, "d": 0.03, "b": 0.2}
    assert found["robust"].to_dict() == {"c": True, "a": False, "d": False, "b": False}
    assert found["n_samples"].to_dict() == {"c": 9, "a": 20, "d": 9, "b": 20}


# What is done to the table, and the one line that says what is wrong.
WRONG = {
    "names": (lambda t: t.uns.pop(SOME_FILES), "not a gene_id and a symbol for each"),
    "fraction": (lambda t: t.obsm.__setitem__(SOME_FILES, t.obsm[SOME_FILES] * 0.5), "holds values that are no counts"),
    "twice": (lambda t: t.uns[SOME_FILES]["gene_id"].__setitem__(0, t.var_names[0]), "stands there more than once"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_table_whose_further_genes_are_wrong_is_refused(kind, cohort, tmp_path):
    adata, first = cohort
    union = in_union(adata, first)
    WRONG[kind][0](union)
    write_h5ad(union, tmp_path / "x.h5ad")
    with pytest.raises(BadInput, match=WRONG[kind][1]):
        read_samples(tmp_path / "x.h5ad")
