"""What spreadsheets and R do to a table is undone where it has one meaning, and refused with its line where not."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.cohort.plain_table import read_plain_table, typed
from immune_aging.task.command_line import BadInput

PLAIN = "donor,age\nD1,30\nD2,45\n"


def read(folder, text, **kwargs):
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode(**kwargs))
    return read_plain_table(folder / "t.csv", where="--table t.csv")


@pytest.mark.parametrize(
    "text",
    [
        PLAIN, PLAIN.replace(",", ";"), PLAIN.replace(",", "\t"), PLAIN.replace(",", ", "), PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"), "\ufeff" + PLAIN, PLAIN.rstrip("\n"), '"donor","age"\n"D1","30"\n"D2","45"\n',
        "sep=;\n" + PLAIN.replace(",", ";"), PLAIN + "\n\n,\n", "\n" + PLAIN, "donor,age,,\nD1,30,,\nD2,45,,\n",
        "donor,age\n D1 ,30 \nD2,45\n", PLAIN.encode("utf-16"), PLAIN.replace(",", "\t").encode("utf-16"),
        '"","donor","age"\n"1","D1","30"\n"2","D2","45"\n',
    ],
)  # fmt: skip
def test_a_table_is_read_however_it_was_saved(text, tmp_path):
    table = read(tmp_path, text)
    assert table.rows.to_dict("list") == {"donor": ["D1", "D2"], "age": ["30", "45"]}


@pytest.mark.parametrize(
    "text",
    [
        "donor|age|cmv\nD 1|45|pos\nD2|50|\n",
        '"donor" "age" "cmv"\n"D 1" 45 "pos"\n"D2" 50 NA\n',  # R's write.table(row.names = FALSE)
        "donor age  cmv\n'D' 45 pos\nD2 50 NA\n".replace("'D'", '"D 1"'),
        '"donor"|"age"|"cmv"\n"D 1"|45|"pos"\n"D2"|50|""\n',
    ],
)
def test_bars_and_blanks_part_a_table_too(text, tmp_path):
    rows = read(tmp_path, text).rows
    assert rows.to_dict("list") == {"donor": ["D 1", "D2"], "age": ["45", "50"], "cmv": ["pos", None]}


@pytest.mark.parametrize("text", ["file name\na.h5ad\nb c.h5ad\n", "my file\na.h5ad\n"])
def test_one_column_with_a_blank_in_its_name_is_one(text, tmp_path):
    assert read(tmp_path, text).rows.shape[1] == 1


def test_separators_within_quotes_and_beside_decimal_commas_are_text(tmp_path):
    assert read(tmp_path, 'donor;age\n"D;1";45,5\n').rows.to_dict("list") == {"donor": ["D;1"], "age": ["45,5"]}
    assert read(tmp_path, 'donor,"what, why"\nD1,"a ""b"", c"\n').rows.iloc[0].tolist() == ["D1", 'a "b", c']


def test_empty_cells_and_what_r_and_excel_write_for_them_are_missing(tmp_path):
    table = read(tmp_path, "donor,a,b\nD1,NA,None\nD2,#N/A,\nD3,,unknown\n")
    assert table.rows["a"].tolist() == [None, None, None]
    assert table.rows["b"].tolist() == ["None", None, "unknown"], "other words may be levels"


def test_lines_are_those_of_the_file(tmp_path):
    table = read(tmp_path, '\ndonor,what\nD1,"two\nlines"\n\nD2,b\n')
    assert table.lines.tolist() == [4, 6]


def test_a_column_without_a_name_is_noted(tmp_path):
    assert read(tmp_path, '"","donor"\n1,D1\n').notes == ("--table t.csv: 1 columns without a name are left out",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"), ("\n\n", "is empty"), ("\ufeff", "is empty"), ("donor,age\n", "has a header and no rows"),
        ("donor,age,age\nD1,1,2\n", "the header names 'age' twice"), ("donor,age\nD1\n", "line 2: 1 fields, but the header names 2"),
        ("donor,age\n1,D1,30\n", "line 2: 3 fields, but the header names 2; from R, write it with row.names = FALSE"),
        ('donor,age\n"D1,30\n', "check its quotation marks"), (b"donor\nM\xfcller\n", "is no text in UTF-8 (byte 7)"),
        ('"donor" "age"\n"1" "D1" 30\n"2" "D2" 40\n', "line 2: 3 fields, but the header names 2; from R, write it with row.names = FALSE"),
        ('"donor"\t"age"\n"1"\t"D1"\t30\n', "line 2: 3 fields, but the header names 2; from R, write it with row.names"),
        (b"PK\x03\x04", "is a spreadsheet or a zip archive"), (b"\x1f\x8b\x08", "is compressed with gzip"),
        (b"\x89HDF\r\n", "is an HDF5 file"), (b"donor\0age\n", "is no text"), (b"\xd0\xcf\x11\xe0abc", "is an old spreadsheet"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_in_one_line(text, said, tmp_path):
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith("--table t.csv: ") and said in message and "\n" not in message


@pytest.mark.parametrize(
    ("texts", "dtype", "values"),
    [
        (["1", "2"], "Int64", [1, 2]), (["1", None], "Int64", [1, pd.NA]), (["1.5", "2"], "float64", [1.5, 2.0]),
        (["1e3", "-2"], "float64", [1000.0, -2.0]), ([".5", "5."], "float64", [0.5, 5.0]), (["01", "2"], "category", ["01", "2"]),
        (["1", "x"], "category", ["1", "x"]), (["45,5"], "float64", [45.5]), (["24,5", "30", "0,125"], "float64", [24.5, 30, 0.125]),
        (["1,250", "2,500"], "category", ["1,250", "2,500"]), (["1,2,3"], "category", ["1,2,3"]), (["1.250,5", "2"], "category", ["1.250,5", "2"]),
        (["24.5", "unknown", ".", None, "-"], "float64", [24.5, np.nan, np.nan, np.nan, np.nan]), (["1", "NA "], "Int64", [1, pd.NA]),
        (["1", "none", "x"], "category", ["1", "none", "x"]), (["01", "."], "category", ["01", "."]), (["."], "category", ["."]),
        (["1.1", "1.10"], "category", ["1.1", "1.10"]), (["1E5", "10E4"], "category", ["1E5", "10E4"]), (["1.5", "2", "2.0"], "float64", [1.5, 2, 2]),
        (["123456789012345678", "123456789012345679"], "category", ["123456789012345678", "123456789012345679"]),
        (["1234567890123456", "2.5"], "category", ["1234567890123456", "2.5"]), (["123456789012345", "7"], "Int64", [123456789012345, 7]),
        (["TRUE", "FALSE"], "category", ["TRUE", "FALSE"]), (["1", "2"] * 20, "Int64", [1, 2] * 20),
    ],
)  # fmt: skip
def test_numbers_are_numbers_and_names_with_leading_zeros_stay_names(texts, dtype, values):
    column = typed(pd.Series(texts, dtype=object))
    assert column.dtype == dtype
    pd.testing.assert_series_equal(column, pd.Series(values, dtype=dtype))


def test_what_a_spreadsheet_writes_where_a_formula_failed_is_missing(tmp_path):
    table = read(tmp_path, "donor,bmi\nD1,#REF!\nD2,#DIV/0!\nD3,24.5\n")
    assert typed(table.rows["bmi"]).isna().tolist() == [True, True, False]
