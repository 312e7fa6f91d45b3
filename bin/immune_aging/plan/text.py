"""The plan in words."""

from immune_aging.cohort.cohort_file import MAX_LISTED
from immune_aging.cohort.examination import Cohort, unknown_ages
from immune_aging.cohort.filtering import Chosen


def text_of(plan: dict) -> list[str]:
    """The plan as lines for a person."""
    n_samples = plan.get("n_samples_of_donors")
    of_samples = "" if n_samples is None else f" with {n_samples} samples"
    counted = f"{plan['n_donors']} donors{of_samples}, {plan['n_cell_types']} cell types."
    if plan["n_cells"]:
        lines = [
            f"The cohort can be analysed: {plan['n_cells']} cells and {plan['n_genes']} genes (counts in "
            f"{plan['counts_layer']}), {counted}",
            f"Kept by the cohort filter: {plan['n_cells_kept']} cells of {plan['n_donors_kept']} donors, in "
            f"{plan['n_shards']} shards.",
        ]
    else:
        lines = [f"The table can be analysed: {plan['n_samples']} samples, {plan['n_genes']} genes, {counted}"]
    names = plan["cell_types"][:MAX_LISTED]
    more = plan["n_types"] - len(names)
    lines.append(
        f"Cell types expected: {plan['n_types']} ({', '.join(names)}{f' and {more} more' if more > 0 else ''}), "
        f"{plan['n_samples']} samples at most."
    )
    if cost := plan.get("costs"):
        time = "a minute" if cost["minutes"] <= 1 else f"{cost['minutes']} minutes"
        on = "one core" if cost["cores"] == 1 else f"{cost['cores']} cores"
        lines += [
            f"Tasks: about {cost['tasks']}. Time: about {time} on {on}. Memory of "
            f"the largest task: about {cost['largest_task_gb']} GB. Disk: about {cost['disk_gb']} GB "
            f"({cost['free_disk_gb']} GB are free)."
        ]
    return lines + [f"Note: {note}." for note in plan["notes"]]


def notes_of(cohort: Cohort, chosen: Chosen) -> list[str]:
    """What a person should know of a cohort's donors and cells that is not wrong."""
    notes = [] if cohort.donors is None else unknown_ages(cohort.donors)
    unlabelled = int(chosen.cells.isin(["no donor", "no cell type"]).sum())
    if unlabelled:
        notes.append(f"{unlabelled} cells have no donor or no cell type and are left out")
    without_sample = int((chosen.cells == "no sample").sum())
    if without_sample:
        notes.append(f"{without_sample} cells of a donor have no sample and are left out")
    return notes
