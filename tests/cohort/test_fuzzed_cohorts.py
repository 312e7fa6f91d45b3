"""Cohorts composed at random from what files, labels and counts can be, some of them damaged.

Each is analysed to exactly the counts that were put in, or that another reader finds in the damaged file, or is refused
with a `BadInput`, which a step turns into one line and exit code 2. `FUZZ_EXAMPLES` and `FUZZ_SEED` try more, and others.
"""

import itertools
import os
import random
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from scipy import sparse

from analysed_cohorts import analysed, true_sums
from immune_aging.task.command_line import BadInput

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "50"))
MORE_EXAMPLES = 450  # of the long test
SEED = int(os.environ.get("FUZZ_SEED", "20261128"))
DONORS, PER_TYPE, TYPES, GENES = 6, 8, ("T cell", "B cell"), 40
LABELS = [(d, t) for d in range(DONORS) for t in TYPES for _ in range(PER_TYPE)]
YEARS = [22, 35, 48, 57, 64, 80]
# Each way to write an age, and the sexes.
AGES = {
    "stage": lambda years: f"{years}-year-old stage",
    "number": lambda years: years,
    "fraction": lambda years: float(years),
    "text": str,
    "short": lambda years: f"{years}y",
    "iso": lambda years: f"P{years}Y",
    "comma": lambda years: f"{years},0",
    "months": lambda years: f"{12 * years} months",
    "range": lambda years: f"{years - 2}-{years + 2}",
    "bound": lambda years: f">{years}" if years == 80 else str(years),
}
SEXES = {
    "words": ("female", "male"), "letters": ("F", "M"), "case": ("Female", "MALE"), "blanks": (" female", "male "),
    "numbers": ("0", "1"),
}  # fmt: skip
MISSING = ("nan", "NA", "unknown", "Unassigned", "doublet", "", "None", None)
DTYPES = ("f2", "f4", "f8", "u1", "i2", "u2", "i4", "u4", "i8", ">f4", ">i4")
APART = {"none": [], "antibodies": ["CD3_TotalSeqB", "Hashtag1"], "spike-ins": ["ERCC-00002"], "mouse": ["mm10___Cd3e"]}
DAMAGES = ("none", "none", "none", "cut off", "a part less", "a part changed", "an attribute less", "bytes")


def composed(draw):
    """A cohort in memory with what is true of it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    counts = rng.poisson(rng.gamma(0.6, 2.0, GENES) + 0.05, (len(LABELS), GENES)).astype(np.int64)
    order = rng.permutation(len(LABELS))
    donors = [f"D{LABELS[i][0]}" for i in order]
    kinds: list[str | None] = [LABELS[i][1] for i in order]
    age, sex = AGES[draw(st.sampled_from(sorted(AGES)))], SEXES[draw(st.sampled_from(sorted(SEXES)))]
    written_kinds = list(kinds)
    text = draw(st.sampled_from(MISSING))
    for i in rng.choice(len(LABELS), draw(st.integers(0, 5)), replace=False):
        kinds[i], written_kinds[i] = None, text
    ages = [age(YEARS[int(name[1:])]) for name in donors]
    if draw(st.booleans()):  # some cells lack what others of their donor have
        first = {name: donors.index(name) for name in set(donors)}
        ages = [None if i == first[name] else value for i, (name, value) in enumerate(zip(donors, ages, strict=True))]
    obs = pd.DataFrame(
        {
            "donor_id": donors,
            "cell_type": written_kinds,
            "development_stage": ages,
            "sex": [sex[int(name[1:]) % 2] for name in donors],
            "a/b": rng.random(len(LABELS)),
        },
        index=[f"cell{i}" for i in range(len(LABELS))],
    )
    levels = draw(st.booleans())  # anndata writes text with gaps as categories alone
    for name in ("donor_id", "cell_type", "development_stage", "sex"):
        if levels or (obs[name].dtype == object and obs[name].isna().any()):
            obs[name] = obs[name].astype("category")
    others = APART[draw(st.sampled_from(sorted(APART)))]
    names = [f"GENE{i}" for i in range(GENES)] + others
    matrix = np.hstack([counts, rng.poisson(50, (len(LABELS), len(others)))]) if others else counts
    var = pd.DataFrame({"n": range(len(names))}, index=names)
    return anndata.AnnData(X=None, obs=obs, var=var), matrix, true_sums(counts, donors, kinds, names[:GENES]), donors


def written(draw, path):
    """Write a composed cohort in some layout; returns what is true of it."""
    cohort, matrix, sums, donors = composed(draw)
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    layout, place = draw(st.sampled_from(["csr", "csc", "dense"])), draw(st.sampled_from(["X", "raw.X", "counts"]))
    untidy, compression = draw(st.booleans()), draw(st.sampled_from([None, "gzip", "lzf"]))
    if place != "X":
        cohort.X = sparse.csr_matrix(np.log1p(matrix / 3.0).astype(np.float32))
    cohort.write_h5ad(path, convert_strings_to_categoricals=False)
    node = {"X": "X", "raw.X": "raw/X", "counts": "layers/counts"}[place]
    with h5py.File(path, "a") as file:
        if node in file:
            del file[node]
        if place == "raw.X":
            file.copy("var", file.require_group("raw"))
        if layout == "dense":
            file.create_dataset(node, data=matrix.astype(dtype), compression=compression)
            return sums, donors
        stored = sparse.csr_matrix(matrix) if layout == "csr" else sparse.csc_matrix(matrix)
        values, indices, indptr = stored.data, stored.indices, stored.indptr
        if untidy:  # every line backwards, with a zero at its end that is stored all the same
            lines = [slice(a, b) for a, b in itertools.pairwise(indptr)]
            values = np.concatenate([np.append(values[line][::-1], 0) for line in lines])
            indices = np.concatenate([np.append(indices[line][::-1], 0) for line in lines])
            indptr = indptr + np.arange(len(indptr))
        group = file.create_group(node)
        group.attrs.update({"encoding-type": f"{layout}_matrix", "encoding-version": "0.1.0", "shape": matrix.shape})
        group.create_dataset("data", data=values.astype(dtype), compression=compression)
        group.create_dataset(
            "indices", data=indices.astype(draw(st.sampled_from(["i4", "i8", "u4"]))), compression=compression
        )
        group.create_dataset("indptr", data=indptr.astype(draw(st.sampled_from(["i4", "i8", "u8"]))))
    return sums, donors


def damaged(draw, path):
    """Damage a file in some way; returns whether anything was done."""
    damage, chance = draw(st.sampled_from(DAMAGES)), random.Random(draw(st.integers(0, 2**31)))
    if damage == "none":
        return False
    if damage in ("cut off", "bytes"):
        content = bytearray(path.read_bytes())
        if damage == "cut off":
            del content[chance.randrange(len(content)) :]
        else:
            for _ in range(3):
                content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        return True
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        name = chance.choice(sorted(names))
        node = file[name]
        if damage == "a part less":
            del file[name]
        elif damage == "an attribute less" and len(node.attrs):
            del node.attrs[chance.choice(sorted(node.attrs))]
        elif isinstance(node, h5py.Dataset) and node.ndim == 1 and node.size:
            attrs, values = dict(node.attrs), node[:]
            del file[name]
            where = chance.randrange(len(values))
            if values.dtype.kind in "iuf":
                values[where] = chance.choice([0, 1, 7, 120]) if chance.random() < 0.5 else values[where] + 1
                new = chance.choice([values, values[:-1], np.append(values, values[-1:])])
            else:
                new = values[:-1]
            file[name] = new
            file[name].attrs.update(attrs)
    return True


def plainly_dense(matrix):
    """A sparse matrix as an array; scipy's own way knows not all types of `indptr`."""
    lines = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr.astype(np.int64)))
    dense = np.zeros(matrix.shape, matrix.dtype)
    np.add.at(dense, (lines, matrix.indices) if matrix.format == "csr" else (matrix.indices, lines), matrix.data)
    return dense


def plainly_read(path, layer):
    """The sums that anndata and a plain loop find in a file; None where anndata cannot read what they need."""
    counts, var = {"X": ("X", "var"), "raw.X": ("raw/X", "raw/var")}.get(layer, (f"layers/{layer}", "var"))
    try:
        with h5py.File(path, "r") as file:
            matrix, table = anndata.io.read_elem(file[counts]), anndata.io.read_elem(file[var])
            labels = [pd.Series(anndata.io.read_elem(file["obs"][name])) for name in ("donor_id", "cell_type")]
        dense = plainly_dense(matrix) if sparse.issparse(matrix) else np.asarray(matrix)
    except Exception:
        return None
    missing = {str(text).casefold() for text in MISSING}
    donors, kinds = (
        [None if pd.isna(v) or str(v).casefold() in missing else str(v) for v in column] for column in labels
    )
    genes = np.array([name.startswith("GENE") for name in table.index])
    return true_sums(dense[:, genes], donors, kinds, table.index[genes])


def check(draw, folder):
    path = folder / "cohort.h5ad"
    sums, donors = written(draw, path)
    harmed = damaged(draw, path)
    try:
        found = analysed(path, folder)
    except BadInput as error:
        assert harmed, f"a good cohort was refused: {error}"
        return "refused"
    expected = sums
    if harmed:
        plain = plainly_read(path, found.check["counts_layer"])
        expected = sums if plain is None else plain
    kept = expected.loc[
        [donor in set(found.sums.index.get_level_values(0)) for donor in expected.index.get_level_values(0)]
    ]
    kept = kept.loc[:, (kept != 0).any()]
    pd.testing.assert_frame_equal(
        found.sums.sort_index(axis=1), kept.sort_index(axis=1), check_dtype=False, check_names=False
    )
    if not harmed:
        assert set(found.sums.index.get_level_values(0)) == set(donors), "every donor is kept"
        assert found.donors["age_years"].tolist() == [float(years) for years in YEARS]
        assert found.donors["sex"].nunique() == 2
    return "analysed"


def cohorts(n: int):
    """What hypothesis is told of a test of `n` cohorts."""
    return settings(
        max_examples=n,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@seed(SEED)
@cohorts(EXAMPLES)
@given(st.data())
def test_any_cohort_is_analysed_exactly_or_refused(tmp_path_factory, data):
    folder: Path = tmp_path_factory.mktemp("fuzz")
    check(data.draw, folder)


@pytest.mark.long
@seed(SEED + 1)
@cohorts(MORE_EXAMPLES)
@given(st.data())
def test_any_of_many_more_cohorts_is(tmp_path_factory, data):
    folder: Path = tmp_path_factory.mktemp("fuzz")
    check(data.draw, folder)
