"""The question of a run in words: the tested term, its levels or unit, and what up and down mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from immune_aging.cohort.columns import NO_COLUMN
from immune_aging.figures.effects import directions, is_about_age, unit_of
from immune_aging.report.formats import shown
from immune_aging.statistics.contrasts import AGAINST
from immune_aging.statistics.formulas import columns_of_term


@dataclass(frozen=True)
class Question:
    """How the report speaks of what was asked.

    Attributes
    ----------
    term
        The tested term.
    unit
        'per SD of age', or the two levels that are compared, '(stim against ctrl)'.
    compares_levels
        Whether it compares levels.
    up, down
        'up with age' and 'down with age', or 'higher in stim' and 'lower in stim'.
    of_age
        Whether the question is about age.
    has_ages
        Whether the cohort has ages at all.
    """

    term: str
    unit: str
    compares_levels: bool
    up: str
    down: str
    of_age: bool
    has_ages: bool

    @property
    def column(self) -> str:
        """The column that single genes are drawn against where that is not age."""
        return columns_of_term(self.term)[0]

    @property
    def title(self) -> str:
        """What the report is about: 'age', 'condition (stim against ctrl)'."""
        return f"{self.term} {self.unit}" if self.compares_levels else self.term

    @property
    def levels(self) -> str:
        """What follows 'log2 fold change' in headings: the levels that are compared; '' of numbers."""
        return f" {self.unit}" if self.compares_levels else ""

    @property
    def heads(self) -> tuple[str, str]:
        """Headings of what is up and what is down."""
        if not self.compares_levels:
            return "Up", "Down"
        return self.up[:1].upper() + self.up[1:], self.down[:1].upper() + self.down[1:]

    @property
    def moves(self) -> str:
        """What genes do: 'go up or down with age', 'are higher or lower in stim than in ctrl'."""
        if not self.compares_levels:
            return f"go up or down with {self.term}"
        level, _, reference = self.unit.strip("()").partition(AGAINST)
        return f"are higher or lower in {level} than in {reference}"

    @property
    def frequent(self) -> tuple[str, str]:
        """What cell types become: 'more frequent with age' and 'less frequent', or both with the level."""
        if not self.compares_levels:
            return f"more frequent with {self.term}", "less frequent"
        level = self.unit.strip("()").partition(AGAINST)[0]
        return f"more frequent in {level}", f"less frequent in {level}"

    @property
    def unmoved(self) -> str:
        """What to say where no cell type's frequency changes."""
        more = self.frequent[0].removeprefix("more frequent")
        return f"becomes surely more or less frequent{more}"

    @property
    def alike(self) -> str:
        """What shared genes do alike: they 'age', or they 'change'."""
        return "age" if self.of_age else "change"

    def way(self, direction: str) -> str:
        """What 'up' or 'down' of a table means where the question is not about age, which needs no words."""
        return {"up": self.up, "down": self.down}.get(direction, direction) if self.compares_levels else direction


def question_of(summaries: Sequence[Mapping[str, object]], parameters: Mapping[str, object]) -> Question:
    """The question in words, from what the steps say of it, or from the parameters where none of them does.

    Parameters
    ----------
    summaries
        Of the tests of cell types and of the composition.
    parameters
        Value of each parameter.
    """
    done = [one for one in summaries if one.get("status") == "done" and one.get("contrast")]
    term = shown(parameters.get("test_term", "age"))
    facts = dict(done[0]) if done else {"test_term": term, "contrast": level_words(parameters.get("contrast"))}
    up, down = directions(facts)
    return Question(
        term=term,
        unit=unit_of(facts),
        compares_levels=AGAINST in str(facts.get("contrast")),
        up=up,
        down=down,
        of_age=is_about_age(facts),
        has_ages=parameters.get("age_column") != NO_COLUMN,
    )


def facts_left_out(parameters: Mapping[str, object]) -> list[str]:
    """Columns of donors that hold nothing, because the run was told that there are no ages or no sexes."""
    roles = {"age_column": "age_years", "sex_column": "sex"}
    return [fact for name, fact in roles.items() if parameters.get(name) == NO_COLUMN]


def level_words(contrast: object) -> str:
    """A named contrast 'LEVEL vs REFERENCE' as the steps call it; that of a number where none was named."""
    level, _, reference = str(contrast or "").partition(" vs ")
    return f"{level}{AGAINST}{reference}" if reference else "per SD"
