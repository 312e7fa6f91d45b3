"""Tables that a person writes by hand or exports from a spreadsheet: donors, files; read as text, line by line.

What spreadsheets and R do to them is undone where it has one meaning (byte order mark, semicolons, tabs, quotes, ends
of lines, empty rows), and refused with the line where it has not.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.missing_text import means_missing
from immune_aging.task.command_line import BadInput

DELIMITERS = (",", ";", "\t", "|")
# What a spreadsheet writes where a formula failed.
ERRORS = ("#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!")
# What R, pandas and Excel write into an empty cell. Other words ("None", "unknown") may be a level.
EMPTY = frozenset(("", "NA", "NaN", "nan", "<NA>", *ERRORS))
# What people give instead, by how the file begins.
OTHER_KINDS = {
    b"PK": "is a spreadsheet or a zip archive; save it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "is an old spreadsheet; save it as CSV (UTF-8)",
    b"\x1f\x8b": "is compressed with gzip; unpack it",
    b"\x89HDF": "is an HDF5 file, but a CSV or TSV table is needed",
}
_BYTE_ORDER = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # Excel's "Unicode text"
MAX_LISTED = 5
_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,14})")
_LONG = re.compile(r"[+-]?\d{16,}(?:\.0*)?")  # more digits than a 64-bit float keeps: a name
_LIKE_A_WELL = re.compile(r"\d+E\d+")  # programs write numbers as 1e+05
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)?(?:\.\d+|\.)?(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class PlainTable:
    """A table as text.

    Attributes
    ----------
    where
        How messages call it.
    rows
        One column per named column of the file; text without blanks at its ends, None where a cell is empty.
    lines
        The line of the file in which each row ends.
    notes
        What was left out.
    """

    where: str
    rows: pd.DataFrame
    lines: np.ndarray
    notes: tuple[str, ...] = ()


def text_of(path: Path, where: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 where it says so; `BadInput` for anything else."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror}); check the path") from error
    for magic, problem in OTHER_KINDS.items():
        if data.startswith(magic):
            raise BadInput(f"{where}: {problem}")
    try:
        text = data.decode(_BYTE_ORDER.get(data[:2], "utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: is no text in UTF-8 (byte {error.start}); save it as CSV (UTF-8)") from error
    if "\0" in text:
        raise BadInput(f"{where}: is no text; give a CSV or TSV table")
    return text


def _records(text: str, delimiter: str, where: str) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line in which it ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    found = []
    try:
        for record in reader:
            fields = [field.strip() for field in record]
            if any(fields):
                found.append((reader.line_num, fields))
    except csv.Error as error:
        raise BadInput(
            f"{where}: line {reader.line_num}: cannot be read ({error}); check its quotation marks"
        ) from error
    return found


def _split_by_blanks(text: str, header: str, where: str) -> list[tuple[int, list[str]]]:
    """The rows of a table that blanks part, as R's write.table makes it; none where it is no such table.

    Each row must have the number of names in the header, or one more: then R has written the names of its rows.

    Parameters
    ----------
    header
        Without what is in quotation marks.
    """
    if " " not in header or any(delimiter in header for delimiter in DELIMITERS):
        return []
    try:
        rows = _records(text, " ", where)
    except BadInput:
        return []
    n_fields = {len(fields) for _, fields in rows[1:]}
    n_names = len(rows[0][1])
    return rows if n_names > 1 and all(rows[0][1]) and n_fields in ({n_names}, {n_names + 1}) else []


def _split(text: str, where: str) -> list[tuple[int, list[str]]]:
    """The rows by the delimiter that the header is written with: the one that parts it into most names.

    Of two that part it equally, the one that gives every row the header's number of fields.
    """
    first, _, rest = text.partition("\n")
    if match := re.fullmatch(r"sep=(.)\s*", first):  # a line for Excel
        return [(line + 1, fields) for line, fields in _records(rest, match[1], where)]
    header = next((line for line in text.splitlines() if line.strip()), "")
    unquoted = re.sub(r'"[^"]*"', "", header)
    if by_blanks := _split_by_blanks(text, unquoted, where):
        return by_blanks
    parts = {delimiter: unquoted.count(delimiter) for delimiter in DELIMITERS}
    most = [delimiter for delimiter in DELIMITERS if parts[delimiter] == max(parts.values())]
    read = [_records(text, delimiter, where) for delimiter in most]
    return min(read, key=lambda rows: sum(len(fields) != len(rows[0][1]) for _, fields in rows) if rows else 0)


def read_plain_table(path: Path, *, where: str) -> PlainTable:
    """Read a table that is separated by commas, semicolons, tabs, bars or blanks.

    Parameters
    ----------
    where
        How messages call it.

    Raises
    ------
    BadInput
        It is no such table, or a row does not fit the header; everything that is wrong is said at once.
    """
    records = _split(text_of(path, where), where)
    if not records:
        raise BadInput(f"{where}: is empty; give a header and one row for each entry")
    header, body = records[0][1], records[1:]
    while header and not header[-1]:  # spreadsheets write empty columns at the end
        header = header[:-1]
    problems = [
        f"line {line}: {len(fields)} fields, but the header names {len(header)}"
        + ("; from R, write it with row.names = FALSE" if len(fields) == len(header) + 1 else "")
        for line, fields in body
        if len(fields) < len(header) or any(fields[len(header) :])
    ][:MAX_LISTED]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    problems += [f"the header names '{name}' twice; keep one column" for name in twice]
    if not body:
        problems.append("has a header and no rows")
    if problems:
        raise BadInput(f"{where}: " + " | ".join(problems))
    table = pd.DataFrame([fields[: len(header)] for _, fields in body], columns=header, dtype=object)
    named = [place for place, name in enumerate(header) if name]
    nameless = len(header) - len(named)
    notes = [f"{where}: {nameless} columns without a name are left out"] if nameless else []
    rows = table.iloc[:, named]
    rows = rows.where(~rows.isin(EMPTY), None)
    return PlainTable(where, rows, np.array([line for line, _ in body]), tuple(notes))


def _numbers_alone(texts: pd.Series) -> pd.Series:
    """A column with its decimal commas as points and without text for a missing value, where numbers are all the rest.

    24,5 and 30 are numbers; 1,250 may be one thousand or one, so a column of such texts alone stays as it is.
    """
    known = texts.dropna()
    missing = known.map(means_missing)
    rest = known[~missing]
    points = rest.str.replace(",", ".", n=1, regex=False)
    decimal = rest.map(lambda text: bool(re.search(r"^[+-]?0,|,(?!\d{3}$)", text)))
    is_number = points.map(lambda text: bool(_NUMBER.fullmatch(text)) and any(c.isdigit() for c in text))
    if not len(rest) or not is_number.all() or (rest.str.contains(",") & ~rest.str.fullmatch(r"[+-]?\d+,\d+")).any():
        return texts
    if rest.str.contains(",").any() and not decimal.any():
        return texts
    return points.reindex(texts.index).astype(object).where(lambda column: column.notna(), None)


def _are_names(texts: pd.Series) -> bool:
    """Whether texts that could be numbers are names: plates 1.1 and 1.10, wells 1E5 and 10E4, ids of 18 digits."""
    if (
        texts.map(lambda text: bool(_LONG.fullmatch(text))).any()
        or texts.map(lambda text: bool(_LIKE_A_WELL.fullmatch(text))).all()
    ):
        return True
    points = texts[texts.str.contains(".", regex=False)].unique()
    return len({float(text) for text in points}) < len(points)


def typed(texts: pd.Series) -> pd.Series:
    """A column of text as numbers where each text is one, else as categories; missing values kept.

    Numbers may have decimal commas, and text for a missing value beside them. Those with leading zeros are names, and
    so are all of a column in which two different texts with a decimal point would be one number.
    """
    texts = _numbers_alone(texts)
    known = texts.dropna()
    if len(known) and known.map(lambda text: bool(_WHOLE.fullmatch(text))).all():
        return texts.map(lambda text: pd.NA if text is None or pd.isna(text) else int(text)).astype("Int64")
    if len(known) and known.map(lambda text: bool(_NUMBER.fullmatch(text)) and any(c.isdigit() for c in text)).all():
        return texts.astype("category") if _are_names(known) else texts.astype(float)
    return texts.astype("category")
