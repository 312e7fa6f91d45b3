"""How the report writes numbers and values for a person."""

import math

NOT_AVAILABLE = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A number for a person: thousands with commas, others to `digits` digits, a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_AVAILABLE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def floored(value: float | None, floor: float | None, digits: int = 2) -> str:
    """A p or q for a person; one at its floor as '< floor', for it may be any smaller number."""
    at_floor = floor is not None and value is not None and value <= floor * (1 + 1e-5)  # tables hold six digits
    return f"< {number(floor, digits)}" if at_floor else number(value, digits)


def shown(value: object) -> str:
    """A parameter's value for a person: lists with commas, nothing as 'not set'."""
    if value is None or value == "":
        return "not set"
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
