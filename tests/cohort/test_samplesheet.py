"""A samplesheet is read however it was saved; what it lacks or says twice is told with its line."""

import pytest

import list_files
from immune_aging.cohort.samplesheet import labels_of, whole_path
from immune_aging.task.checkpoints import read_json, sha256_of
from immune_aging.task.command_line import BadInput

SHEET = "file,donor,age\na.h5ad,D1,30\nsub/b.h5ad,D2,45\n"


def listed(folder, text, *options, name="cohort.csv"):
    (folder / name).write_bytes(text.encode())
    list_files.main(
        ["--source=/data/my cohort", f"--sheet={folder / name}", f"--output={folder / 'files.json'}",
         f"--versions={folder / 'v.json'}", *options]
    )  # fmt: skip
    return read_json(folder / "files.json")


@pytest.mark.parametrize(
    "text",
    [
        SHEET, SHEET.replace(",", ";"), SHEET.replace(",", "\t"), SHEET.replace("\n", "\r\n"), "\ufeff" + SHEET, SHEET.rstrip(),
        SHEET.replace("a.h5ad", '"a.h5ad"'), SHEET.replace("a.h5ad", " a.h5ad "), "sep=,\n" + SHEET, SHEET + ",,\n\n", SHEET.replace("a.h5ad", "./a.h5ad"),
        "file,donor,age\nsub/b.h5ad,D2,45\na.h5ad,D1,30\n", SHEET.replace("a.h5ad", "/data/my cohort/a.h5ad"), SHEET.replace("a.h5ad", "../my cohort/a.h5ad"),
        SHEET.replace("a.h5ad", "file:///data/my%20cohort/a.h5ad"),
    ],
)  # fmt: skip
def test_files_and_facts_are_read_in_one_order_however_the_sheet_was_saved(text, tmp_path):
    found = listed(tmp_path, text)
    assert [file["source"] for file in found["files"]] == ["/data/my cohort/a.h5ad", "/data/my cohort/sub/b.h5ad"]
    assert [file["facts"] for file in found["files"]] == [{"donor": "D1", "age": "30"}, {"donor": "D2", "age": "45"}]
    assert [file["id"] for file in found["files"]] == ["file-0000", "file-0001"]
    assert found["where"] == "--input cohort.csv"


@pytest.mark.parametrize(
    "name", ['it\'s $HOME & `ls` "x".h5ad', "ünï 数据.h5ad", "a;b|c>d.h5ad", "-rf.h5ad", "*.h5ad", "x\\y.h5ad"]
)
def test_names_are_data(name, tmp_path):
    quoted = '"' + name.replace('"', '""') + '"'
    [file] = listed(tmp_path, f"file\n{quoted}\n")["files"]
    assert (file["name"], file["source"]) == (name, f"/data/my cohort/{name}")


def test_addresses_and_checksums(tmp_path):
    text = f"file,sha256\nhttps://example.org/a.h5ad?x=1,{'A' * 64}\nb.h5,\n"
    files = listed(tmp_path, text)["files"]
    assert [(file["source"], file["sha256"]) for file in files] == [
        ("/data/my cohort/b.h5", ""), ("https://example.org/a.h5ad?x=1", "a" * 64),
    ]  # fmt: skip
    assert all(file["facts"] == {} for file in files), "a checksum is no fact about cells"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"), ("\n\n", "is empty"), ("file,donor\n", "has a header and no rows"),
        ("File,donor\na.h5ad,D1\n", "has no column 'file' that names the files of the cohort; 'File' must be called 'file'"),
        ("path,donor\na.h5ad,D1\n", "'path' must be called 'file'"), ("h5ad,donor\na.h5ad,D1\n", "'h5ad' must be called 'file'"),
        ("filename\na.h5ad\n", "'filename' must be called 'file'"), ("fiel,donor\na.h5ad,D1\n", "did you mean 'fiel'?"),
        ("a.h5ad,D1\nb.h5ad,D2\n", "has no column 'file'"), ("file,donor\n,D1\na.h5ad,D2\n", "line 2: names no file"),
        ("file,file\na.h5ad,b.h5ad\n", "the header names 'file' twice"), ("file,age,age\na.h5ad,1,2\n", "the header names 'age' twice"),
        ("file\na.h5ad\nb.h5ad\n./a.h5ad\n", "line 4: './a.h5ad' is in line 2, too"), ("file,donor\na.h5ad\n", "line 2: 1 fields, but the header names 2"),
        ("file,sha256\na.h5ad,123\n", "line 2: sha256 '123' is not 64 hexadecimal digits"), ("file\nftp://x/a.h5ad\n", "line 2: 'ftp://x/a.h5ad': addresses must begin with https://"),
        ("file\ns3://x/a.h5ad\n", "addresses must begin with https://"), ('file\n"a\nb.h5ad"\n', "has a line break in its name"),
        ("PK\x03\x04", "is a spreadsheet"), ("file,donor\n,D1\n,D2\n", "line 2: names no file | line 3: names no file"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_sheet_is_said_at_once(text, said, tmp_path):
    with pytest.raises(BadInput) as caught:
        listed(tmp_path, text)
    message = str(caught.value)
    assert message.startswith("--input cohort.csv: ") and said in message and "\n" not in message


def test_a_checksum_of_the_sheet_itself_is_checked(tmp_path):
    (tmp_path / "cohort.csv").write_text(SHEET)
    listed(tmp_path, SHEET, f"--sha256={sha256_of(tmp_path / 'cohort.csv')}")
    with pytest.raises(BadInput, match=r"--input cohort.csv: its sha256 is"):
        listed(tmp_path, SHEET, f"--sha256={'f' * 64}")


def test_one_file_is_listed_as_it_is_given(tmp_path):
    list_files.main(["--source=/data/x.zarr", f"--output={tmp_path / 'f.json'}", f"--versions={tmp_path / 'v.json'}"])
    [file] = read_json(tmp_path / "f.json")["files"]
    assert (file["name"], file["source"], file["facts"]) == ("/data/x.zarr", "/data/x.zarr", {})


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a.h5ad", "in/b.tar.gz"], ["a", "b"]), (["1/m.h5", "2/m.h5"], ["1/m.h5", "2/m.h5"]),
        (["https://x.org/a%20b.h5ad?x=1", "c.zarr/"], ["a b", "c"]), ([".h5ad"], [".h5ad"]),
    ],
)  # fmt: skip
def test_labels_are_short_where_they_differ(names, labels):
    assert labels_of(names) == labels


def test_a_path_that_climbs_above_the_root_stays_there():
    assert whole_path("../../../x.h5ad", "/data") == "/x.h5ad"
