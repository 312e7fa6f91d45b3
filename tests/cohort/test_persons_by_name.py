"""Donors that look like one person's samples are asked about, and ordinary cohorts are left in peace."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.cohort.examination import check_summary, examine
from immune_aging.cohort.gene_symbols import NO_TABLE, gene_names
from immune_aging.cohort.persons import notes_on_persons, persons_by_name
from immune_aging.simulation.model import PRESETS, draw_donors
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from sampled_cohorts import cohort_of_visits
from small_cohorts import write_cohort


def donors(names, ages, sexes=None) -> pd.DataFrame:
    sexes = sexes or ["female", "male"] * len(names)
    return pd.DataFrame({"donor_id": names, "age_years": ages, "sex": sexes[: len(names)]})


def twice(pattern: str, n: int = 5, samples=("t0", "t1")) -> pd.DataFrame:
    """Persons of different ages whose samples were each called a donor."""
    rows = [(pattern.format(p=p, s=s), 30.0 + 7 * p, ("female", "male")[p % 2]) for p in range(n) for s in samples]
    return pd.DataFrame(rows, columns=["donor_id", "age_years", "sex"])


@pytest.mark.parametrize(
    "pattern", ["P{p}_{s}", "P{p}-{s}", "person {p}:{s}", "{s}_P{p}", "{s}.donor_{p}", "P{p}{s}", "HCC{p} {s}"]
)
def test_names_with_a_stem_and_one_age_and_sex_are_asked_about(pattern):
    (note,) = notes_on_persons(twice(pattern))
    assert "--sample_column" in note and repr(pattern.format(p=0, s="t0")) in note and "10 donors of 5 stems" in note


def test_a_letter_or_a_word_before_a_number_tells_samples_apart_too():
    assert notes_on_persons(twice("10{p}{s}", samples=("a", "b")))
    assert notes_on_persons(twice("{s}10{p}", samples=("ctrl", "stim")))


def test_some_persons_sampled_twice_among_others_are_found():
    once = donors([f"P{p}_t0" for p in range(20, 40)], list(range(30, 50)))
    (note,) = notes_on_persons(pd.concat([twice("P{p}_{s}", 3), once], ignore_index=True))
    assert "6 donors of 3 stems" in note


def test_whoever_names_samples_is_not_asked():
    assert notes_on_persons(twice("P{p}_{s}").assign(**{SAMPLE_OF_DONOR: "x"})) == []


@pytest.mark.parametrize(
    "table",
    [
        donors([f"SAMP{i}" for i in range(1, 41)], list(np.linspace(20, 90, 40).round())),  # onek1k_40donors
        donors([f"{i}_{i + 1}" for i in range(1, 983)], list(np.arange(982) % 70 + 20.0)),  # OneK1K
        donors([f"IGTB{i}_IGTB{i}" for i in range(100, 170)], list(np.arange(70) % 40 + 20.0)),  # Perez et al.
        donors([f"pool{i // 8}_donor{i % 8}" for i in range(64)], list(np.arange(64) * 7 % 60 + 20.0)),
        donors([f"{group}_{i}" for group in ("young", "old") for i in range(8)], [25.0] * 8 + [75.0] * 8, ["male"] * 16),
        donors([f"site{i % 5}-{i}" for i in range(30)], [50.0] * 30, ["female"] * 30),
        donors([f"donor {i}" for i in range(12)], [np.nan] * 12),
        donors(["A_1", "A_2", "B_1", "B_2"], [40.0, 40.0, 50.0, 50.0], ["male"] * 4),
        donors([], []),
    ],
)  # fmt: skip
def test_ordinary_cohorts_are_left_in_peace(table):
    assert persons_by_name(table) is None


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_simulated_cohorts_are_left_in_peace(preset):
    drawn = draw_donors(PRESETS[preset], seed=0)
    assert len(drawn) > 5 and notes_on_persons(drawn) == []


def test_ages_that_differ_within_a_stem_are_of_different_persons():
    table = twice("P{p}_{s}")
    table.loc[3, "age_years"] += 20
    assert notes_on_persons(table) == []


def test_the_note_is_in_the_check(tmp_path):
    cohort = cohort_of_visits(donors=6, years=0)
    cohort.obs["donor_id"] = cohort.obs["donor_id"].astype(str) + "_" + cohort.obs["visit"].astype(str)
    columns = {"donor": "donor_id", "cell_type": "cell_type", "age": "development_stage", "sex": "sex"}
    found, problems = examine(write_cohort(cohort, tmp_path / "c.h5ad"), columns=columns, counts_layer="auto")
    summary = check_summary(found, cohort.obs, gene_names(found.var, NO_TABLE))
    assert not problems and sum("look like samples of one person" in note for note in summary["notes"]) == 1


@pytest.mark.parametrize("pattern", ["{s}{p}", "{p}_{s}", "{s}.{p}"])
def test_without_ages_names_that_go_with_a_condition_are_asked_about(pattern):
    rows = [(pattern.format(p=100 + p, s=s), s, f"lane{p % 2}") for p in range(4) for s in ("ctrl", "stim")]
    table = pd.DataFrame(rows, columns=["donor_id", "condition", "lane"]).assign(age_years=np.nan, sex=None)
    (note,) = notes_on_persons(table)
    assert "share a stem, and each stem has one for each 'condition'; so do 8 donors of 4 stems" in note
    assert notes_on_persons(table.drop(columns="condition")) == [], "names alone say little"
    assert notes_on_persons(table.iloc[:-1]) == [], "and not every stem has every ending"
    assert notes_on_persons(table.assign(age_years=30.0 + np.arange(8))) == [], "ages speak against it"
