"""The simulated cohort before any cell is drawn: numbers, genes, profiles, what ages where, and donors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from immune_aging.cells.gene_lists import is_hemoglobin, is_mitochondrial, is_ribosomal, nuisance_reason
from immune_aging.simulation import genes as simulation_genes
from immune_aging.task.command_line import BadInput

KEYS = list(simulation_genes.CELL_TYPES)
TYPES = list(simulation_genes.CELL_TYPES.values())
NAMES = [cell_type.name for cell_type in TYPES]

MODEL, DONORS, DONOR, POOL = range(4)  # the first key of each random stream

MIN_AGE, MAX_AGE = 19, 97  # years; OneK1K's range (Yazar et al. 2022, Science 376:eabf3041)
AGE_SHAPE = (1.6, 1.3)  # of the beta distribution between them: mean 62, SD 20
OFF_LEVEL = 1.0  # log2 CPM of a marker where it is off
RIBOSOMAL_LEVEL = 11.6  # log2 CPM: together a third of a lymphocyte's counts
UNEXPRESSED = 0.02  # share of the tail that no cell expresses
EXPRESSED_CPM = 10.0  # a gene that ages is expressed at least so high in that cell type
TOO_DOMINANT_CPM = 2000.0  # ... and not so high that its change would move the share of every other gene
OVERLAP_SHARE = 0.06  # share of a set's genes that may age because a planted set holds them too


def option(name: str) -> str:
    """The option of a setting."""
    return "--" + name.replace("_", "-")


def number(default: float, text: str) -> Any:
    """A setting with its default and the help text of its option."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings:
    """Every number of a simulated cohort; each is an option of the command."""

    donors: int = number(48, "donors")
    cells: int = number(8640, "cells of all donors, doublets counted once")
    genes: int = number(7000, "genes; the tail is cut first, then the Hallmark sets that are not planted")
    donors_per_pool: int = number(6, "donors multiplexed in a pool")
    planted: int = number(len(simulation_genes.PLANTED), "how many of the planted (cell type, gene set) pairs to use")
    counts_per_cell: float = number(3000.0, "median counts of a cell")
    library_sd: float = number(0.35, "SD of log library size between the cells of a type")
    donor_cells_sd: float = number(0.12, "SD of log number of cells between donors")
    composition: float = number(300.0, "Dirichlet concentration of a donor's cell types (higher: donors more alike)")
    separation: float = number(1.0, "factor on the differences between cell types")
    donor_sd: float = number(0.25, "median over genes of the SD of log expression between donors")
    pool_sd: float = number(0.12, "the same between pools")
    age_effect: float = number(1.0, "factor on all age effects on expression (0: a null cohort)")
    lfc_min: float = number(0.2, "smallest planted |log2 fold change| per SD of age")
    lfc_max: float = number(0.6, "largest planted |log2 fold change| per SD of age")
    set_share: float = number(0.5, "largest share of a planted set's expressed genes that age")
    background_share: float = number(0.02, "share of expressed genes outside planted sets that age, up or down")
    composition_effect: float = number(1.0, "factor on the age effects on the composition")
    doublet_rate: float = number(0.06, "share of doublets")
    homotypic_share: float = number(0.03, "share of the doublets whose two cells are of one type")
    dying_rate: float = number(0.04, "share of dying cells")
    red_cell_rate: float = number(0.01, "share of cells that are red cells or swamped by one")
    ambient: float = number(0.01, "share of a cell's counts that is ambient RNA")
    few_cells_share: float = number(0.01, "share of donors (at least one) with a fifth of the cells")
    lacking_share: float = number(0.025, "share of donors who have no naive B cells")
    unknown_age_share: float = number(0.02, "share of donors (at least one) of unknown age")
    female_share: float = number(0.57, "share of women")


PRESETS = {
    "tiny": Settings(donors=14, cells=1540, genes=1500, donors_per_pool=5, planted=2, composition=3000.0),
    "demo": Settings(),
    "onek1k": Settings(
        donors=982, cells=1_270_000, genes=35_000, donors_per_pool=13, donor_cells_sd=0.25, composition=150.0
    ),
}


@dataclass(frozen=True)
class Model:
    """The cohort before any cell is drawn; arrays are cell types x genes unless said otherwise.

    Attributes
    ----------
    genes
        gene_id, symbol, biotype, group; one row per column of the matrix.
    profile
        Share of a cell's counts, rows sum to 1; zero for the genes that have a share of their own.
    age_lfc
        log2 fold change per SD of age.
    sex_lfc
        log2 fold change in a woman and a man, 2 x genes; -inf where a gene is silent.
    donor_sd, pool_sd
        SD of the natural log between donors or pools, one value per gene.
    ribosomal
        Which genes are ribosomal proteins.
    mitochondrial, hemoglobin
        Columns of the genes, and how these divide their share of a cell.
    usage
        Family of variable regions -> (columns, probabilities of use).
    """

    seed: int
    settings: Settings
    genes: pd.DataFrame
    profile: np.ndarray
    age_lfc: np.ndarray
    sex_lfc: np.ndarray
    donor_sd: np.ndarray
    pool_sd: np.ndarray
    ribosomal: np.ndarray
    mitochondrial: tuple[np.ndarray, np.ndarray]
    hemoglobin: tuple[np.ndarray, np.ndarray]
    usage: dict[str, tuple[np.ndarray, np.ndarray]]


def stream(seed: int, *key: int) -> np.random.Generator:
    """The random stream of one part of the cohort."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def read_gene_sets(path: str | Path) -> dict[str, list[str]]:
    """Read a GMT file; `BadInput` unless it holds every planted set."""
    try:
        rows = [line.split("\t") for line in Path(path).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read as gene sets (GMT): {error}") from error
    sets = {row[0]: [symbol for symbol in row[2:] if symbol] for row in rows}
    for _, name, _ in simulation_genes.PLANTED:
        if not sets.get(name):
            raise BadInput(f"{path}: gene set {name} is missing; give the Hallmark sets by symbol (MSigDB v7.5.1)")
    return sets


def is_any_of(symbols: Sequence[str], members: Iterable[str]) -> np.ndarray:
    """Which symbols are among `members` (numpy's isin takes seconds on text)."""
    members = frozenset(members)
    return np.fromiter((symbol in members for symbol in symbols), dtype=bool, count=len(symbols))


def check_settings(settings: Settings) -> None:
    """Raise `BadInput` for numbers that no cohort can have."""
    for one in fields(settings):
        value = getattr(settings, one.name)
        if value < 0:
            raise BadInput(f"option {option(one.name)}: {value} is negative; give 0 or more")
        if one.name.endswith(("_share", "_rate")) and value > 1:
            raise BadInput(f"option {option(one.name)}: {value} is no share; give 0 to 1")
    if settings.donors < 4:
        raise BadInput(f"option --donors: {settings.donors} donors are too few to have ages; give 4 or more")
    if settings.cells < 20 * settings.donors:
        raise BadInput(
            f"option --cells: {settings.cells} are fewer than 20 a donor; give {20 * settings.donors} or more"
        )
    if settings.donors_per_pool < 1:
        raise BadInput("option --donors-per-pool: 0 donors; give 1 or more")
    if settings.doublet_rate + settings.dying_rate + settings.red_cell_rate >= 1:
        raise BadInput("options --doublet-rate, --dying-rate, --red-cell-rate: together 1 or more; lower them")
    if settings.lfc_min > settings.lfc_max:
        raise BadInput(f"option --lfc-min: {settings.lfc_min} is more than --lfc-max {settings.lfc_max}; lower it")
    if not 0 < settings.counts_per_cell < 1e6 or settings.composition == 0 or settings.ambient > 1:
        raise BadInput("options --counts-per-cell, --composition, --ambient: give 1 to 1e6, above 0, and 0 to 1")


def choose_genes(sets: dict[str, list[str]], settings: Settings) -> pd.DataFrame:
    """List the genes of the cohort, the necessary ones first to be chosen, sorted by id.

    Returns
    -------
    gene_id, symbol ('' if it has an id only), biotype, group (one of special, marker, hallmark, tail).
    """
    markers = simulation_genes.marker_levels()
    special = [
        *simulation_genes.MITOCHONDRIAL_LEVELS,
        *simulation_genes.HEMOGLOBIN_LEVELS,
        *simulation_genes.ribosomal_symbols(),
    ]
    special += [*simulation_genes.MALE_LEVELS, *simulation_genes.FEMALE_LEVELS, *simulation_genes.X_ESCAPE_LEVELS]
    special += [symbol for family in simulation_genes.VARIABLE_REGIONS.values() for symbol in family]
    marker = [*simulation_genes.housekeeping_levels(), *(symbol for key in KEYS for symbol in markers[key])]
    planted = [symbol for _, name, _ in simulation_genes.PLANTED[: settings.planted] for symbol in sorted(sets[name])]
    hallmark = [symbol for name in sorted(sets) for symbol in sorted(sets[name])]
    groups: dict[str, str] = {}
    for group, symbols in (("special", special), ("marker", marker), ("hallmark", planted)):
        for symbol in symbols:
            groups.setdefault(symbol, group)
    if len(groups) > settings.genes:
        raise BadInput(f"option --genes: {settings.genes} are fewer than the {len(groups)} needed; give more")
    for symbol in hallmark:
        groups.setdefault(symbol, "hallmark")
    for symbol in simulation_genes.OTHER_SYMBOLS.split():
        groups.setdefault(symbol, "tail")
    rows = [(symbol, symbol, "protein_coding", group) for symbol, group in groups.items()]
    tail = (row for row in simulation_genes.further_symbols() if row[0] not in groups)
    missing = max(0, settings.genes - len(rows))
    rows += [(f"{symbol}#{n}", symbol, kind, "tail") for n, (symbol, kind) in enumerate(islice(tail, missing))]
    rows = rows[: settings.genes]
    table = pd.DataFrame(rows, columns=["key", "symbol", "biotype", "group"])
    table.insert(0, "gene_id", [simulation_genes.ensembl_id(key) for key in table.pop("key")])
    if not table["gene_id"].is_unique:
        raise ValueError("two simulated genes share an id")
    return table.sort_values("gene_id", ignore_index=True)


def expression_levels(
    genes: pd.DataFrame, sets: dict[str, list[str]], settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Draw the log2 CPM of each gene in each cell type (types x genes, -inf where never expressed)."""
    n = len(genes)
    symbols = genes["symbol"].to_numpy()
    place = {symbol: column for column, symbol in enumerate(symbols) if symbol}
    shift = np.zeros(n)
    for name, level in simulation_genes.SET_LEVELS.items():
        columns = [place[symbol] for symbol in sets.get(name, []) if symbol in place]
        shift[columns] = np.where(np.abs(level) > np.abs(shift[columns]), level, shift[columns])
    tail = (genes["group"] == "tail").to_numpy()
    known = is_any_of(symbols, simulation_genes.OTHER_SYMBOLS.split())
    # The tail of a 10x reference is hardly expressed in blood: half of its genes are below 0.5 CPM.
    base = np.where(tail & ~known, rng.normal(-1.0, 2.4, n), rng.normal(4.6, 1.9, n) + shift).clip(-4, 10)
    base[tail & ~known & (rng.random(n) < UNEXPRESSED)] = -np.inf
    base[is_ribosomal(symbols)] = RIBOSOMAL_LEVEL + rng.normal(0, 0.8, n)[is_ribosomal(symbols)]
    for symbol, level in simulation_genes.housekeeping_levels().items():
        base[place[symbol]] = level

    # Differences between lineages, then between the types of a lineage: a share of the genes, either way.
    lineages = sorted({cell_type.lineage for cell_type in TYPES})
    lineage_lfc = rng.normal(0, 1.6, (len(lineages), n)) * (rng.random((len(lineages), n)) < 0.12)
    type_lfc = rng.normal(0, 1.5, (len(TYPES), n)) * (rng.random((len(TYPES), n)) < 0.08)
    difference = lineage_lfc[[lineages.index(cell_type.lineage) for cell_type in TYPES]] + type_lfc
    difference[:, is_ribosomal(symbols)] *= 0.2
    for symbol in simulation_genes.housekeeping_levels():
        difference[:, place[symbol]] *= 0.3
    levels = base + settings.separation * difference

    for symbol, level in (
        simulation_genes.MALE_LEVELS | simulation_genes.FEMALE_LEVELS | simulation_genes.X_ESCAPE_LEVELS
    ).items():
        levels[:, place[symbol]] = level
    markers = simulation_genes.marker_levels()
    for symbol in sorted(set().union(*markers.values())):
        off = simulation_genes.housekeeping_levels().get(symbol, OFF_LEVEL)
        levels[:, place[symbol]] = [markers[key].get(symbol, off) for key in KEYS]
    own_share = is_mitochondrial(symbols) | is_hemoglobin(symbols)
    own_share |= is_any_of(
        symbols, [symbol for family in simulation_genes.VARIABLE_REGIONS.values() for symbol in family]
    )
    levels[:, own_share] = -np.inf
    return levels


def plant_age_effects(
    genes: pd.DataFrame, sets: dict[str, list[str]], cpm: np.ndarray, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Choose which genes age in which cell type, and by how much.

    A planted set ages in members that no other set holds, then in members whose other sets get no more than
    `OVERLAP_SHARE` of ageing genes by it, so that a set which merely overlaps a planted one stays null. A set
    planted in two types ages by the same genes where both express them. Genes outside the planted sets age,
    too, half of them in all types alike.

    Parameters
    ----------
    cpm
        Expression, types x genes, counts per million.

    Returns
    -------
    age_lfc
        types x genes, log2 per SD of age.
    """
    symbols = genes["symbol"].to_numpy()
    pairs = simulation_genes.PLANTED[: settings.planted]
    names = sorted({name for _, name, _ in pairs})
    member = {name: is_any_of(symbols, members) for name, members in sets.items()}
    n_planted = np.sum([member[name] for name in names], axis=0) if names else np.zeros(len(genes), dtype=int)
    held = np.array(list(member.values()))
    n_sets = held.sum(axis=0)
    # Nuisance genes do not age: they dominate the counts, and would move every other gene's share.
    may_age = (nuisance_reason(symbols) == "") & ~is_hemoglobin(symbols)
    may_age &= ~is_any_of(
        symbols, [*simulation_genes.MALE_LEVELS, *simulation_genes.FEMALE_LEVELS, *simulation_genes.X_ESCAPE_LEVELS]
    )
    expressed = may_age & (cpm >= EXPRESSED_CPM) & (cpm <= TOO_DOMINANT_CPM)
    size = rng.uniform(settings.lfc_min, settings.lfc_max, len(genes))
    order = rng.permutation(len(genes))

    lfc = np.zeros(cpm.shape)
    in_all = rng.random(len(genes)) < settings.background_share / 2
    for row in range(len(TYPES)):
        here = expressed[row] & (n_planted == 0)
        own = rng.random(len(genes)) < settings.background_share / 2
        sign = np.where(in_all, np.where(order % 2 == 0, 1, -1), rng.choice([-1, 1], len(genes)))
        lfc[row] = np.where(here & (in_all | own), sign * size, 0.0)
    for key, name, direction in pairs:
        row = KEYS.index(key)
        candidates = np.flatnonzero(expressed[row] & member[name] & (n_planted == 1))
        candidates = candidates[np.lexsort((order[candidates], n_sets[candidates]))]
        room = OVERLAP_SHARE * (held & expressed[row]).sum(axis=1)
        room[list(member).index(name)] = round(settings.set_share * (expressed[row] & member[name]).sum())
        chosen = []
        for column in candidates:
            inside = held[:, column]
            if (room[inside] >= 1).all():
                room[inside] -= 1
                chosen.append(column)
        lfc[row, chosen] = size[chosen] if direction == "up" else -size[chosen]
    return lfc * settings.age_effect


def build_model(sets: dict[str, list[str]], settings: Settings, *, seed: int) -> Model:
    """Draw everything that all donors share."""
    check_settings(settings)
    rng = stream(seed, MODEL)
    genes = choose_genes(sets, settings)
    symbols = genes["symbol"].to_numpy()
    place = {symbol: column for column, symbol in enumerate(symbols) if symbol}
    weight = np.exp2(expression_levels(genes, sets, settings, rng))
    profile = weight / weight.sum(axis=1, keepdims=True)
    mean = np.array([cell_type.share for cell_type in TYPES]) @ profile
    profile = (1 - settings.ambient) * profile + settings.ambient * mean
    age_lfc = plant_age_effects(genes, sets, 1e6 * profile, settings, rng)

    sex_lfc = np.zeros((2, len(genes)))
    sex_lfc[0, [place[symbol] for symbol in simulation_genes.MALE_LEVELS]] = -np.inf
    sex_lfc[1, [place[symbol] for symbol in simulation_genes.FEMALE_LEVELS]] = -np.inf
    sex_lfc[0, [place[symbol] for symbol in simulation_genes.X_ESCAPE_LEVELS]] = simulation_genes.FEMALE_ESCAPE_LFC / 2
    sex_lfc[1, [place[symbol] for symbol in simulation_genes.X_ESCAPE_LEVELS]] = -simulation_genes.FEMALE_ESCAPE_LFC / 2

    def shares(levels: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
        weights = np.exp2(list(levels.values()))
        return np.array([place[symbol] for symbol in levels]), weights / weights.sum()

    families = dict(simulation_genes.VARIABLE_REGIONS)
    families["IGKV|IGLV"] = families["IGKV"] + families["IGLV"]
    usage = {}
    for family, members in families.items():
        weights = rng.lognormal(0, 1, len(members))
        usage[family] = (np.array([place[symbol] for symbol in members]), weights / weights.sum())
    spread = rng.lognormal(0, 0.35, len(genes))
    return Model(
        seed=seed,
        settings=settings,
        genes=genes,
        profile=profile,
        age_lfc=age_lfc,
        sex_lfc=sex_lfc,
        donor_sd=settings.donor_sd * spread,
        pool_sd=settings.pool_sd * spread,
        ribosomal=is_ribosomal(symbols),
        mitochondrial=shares(simulation_genes.MITOCHONDRIAL_LEVELS),
        hemoglobin=shares(simulation_genes.HEMOGLOBIN_LEVELS),
        usage=usage,
    )


def draw_donors(settings: Settings, *, seed: int) -> pd.DataFrame:
    """Draw the donors: one row each, in the order of their ids.

    Returns
    -------
    donor_id, age_years (true, also where the file says unknown), age_known, age_z (SDs from the mean), sex,
    pool, n_cells (as planned), lacks (cell type or ''), note.
    """
    rng = stream(seed, DONORS)
    n = settings.donors
    quantiles = stats.beta.ppf((np.arange(n) + 0.5) / n, *AGE_SHAPE)
    ages = np.rint(MIN_AGE + (MAX_AGE - MIN_AGE) * quantiles)
    ages[[0, -1]] = MIN_AGE, MAX_AGE
    ages = rng.permutation(ages)
    women = rng.permutation(n) < round(settings.female_share * n)
    n_pools = -(-n // settings.donors_per_pool)
    pool = rng.permutation(np.arange(n) % n_pools)
    odd = rng.permutation(n)
    n_few, n_unknown = (max(1, round(share * n)) for share in (settings.few_cells_share, settings.unknown_age_share))
    n_lack = int(settings.lacking_share * n)
    few, unknown, lack = np.split(odd, np.cumsum([n_few, n_unknown, n_lack]))[:3]
    weight = rng.lognormal(0, settings.donor_cells_sd, n)
    weight[few] *= 0.2
    cumulative = np.rint(np.cumsum(weight) / weight.sum() * settings.cells).astype(int)
    note = np.full(n, "", dtype=object)
    note[few], note[unknown], note[lack] = "few cells", "age unknown", "no naive B cells"
    width = len(str(n))
    return pd.DataFrame({
        "donor_id": [f"donor_{i + 1:0{width}d}" for i in range(n)],
        "age_years": ages,
        "age_known": ~np.isin(np.arange(n), unknown),
        "age_z": (ages - ages.mean()) / ages.std(ddof=1),
        "sex": np.where(women, "female", "male"),
        "pool": pool,
        "n_cells": np.diff(cumulative, prepend=0),
        "lacks": np.where(np.isin(np.arange(n), lack), simulation_genes.CELL_TYPES["BN"].name, ""),
        "note": note,
    })  # fmt: skip
