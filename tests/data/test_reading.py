"""Reading files: the right line whatever the quoting, and a reason for every file that is not a table."""

from __future__ import annotations

import polars as pl
import pytest

from optim.config.errors import UserError
from optim.data.findings import Findings
from optim.data.reading import Table, read


def reading(folder, content: bytes, name: str = "t.csv") -> tuple[Table | None, list[str]]:
    """The table in a file of this content, and the problems with the folder left out."""
    path = folder / name
    path.write_bytes(content)
    findings = Findings()
    table = read(str(path), findings)
    try:
        findings.raise_if_any()
    except UserError as error:
        return table, str(error).replace(f"{folder}/", "").splitlines()
    return table, []


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a,b\n1,2\n3,4\n", [2, 3]),
        (b"a,b\n1,2\n3,4", [2, 3]),
        (b"a,b\r\n1,2\r\n\r\n3,4\r\n", [2, 4]),
        (b"\n\na,b\n1,2\n\n\n3,4\n\n", [4, 7]),
        (b'a,b\n"x\ny",2\n3,4\n', [2, 4]),
        (b'a,b\n"x\n\n""y""\n",2\n\n3,4\n', [2, 7]),
        (b'"a\nb",c\n1,2\n,\n3,4\n', [3, 5]),
        (b"\xef\xbb\xbfa,b\n1,2\n   \n3,4\n", [2, 4]),
    ],
)
def test_a_row_is_placed_on_the_line_on_which_it_begins(tmp_path, content, lines):
    table, problems = reading(tmp_path, content)
    assert problems == []
    assert table is not None
    places = table.places(range(table.frame.height))
    assert places == [f"{tmp_path}/t.csv:{line}" for line in lines]


def test_the_header_is_where_its_names_stand(tmp_path):
    table, _ = reading(tmp_path, b"\n\na,b\n1,2\n")
    assert table is not None
    assert table.header == f"{tmp_path}/t.csv:3"


def test_blanks_around_names_and_values_do_not_count(tmp_path):
    table, _ = reading(tmp_path, b'a , b\n x ,"  "\n y,1\n')
    assert table is not None
    assert table.frame.to_dict(as_series=False) == {"a": ["x", "y"], "b": [None, "1"]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "t.csv: the file is empty"),
        (b"\n \n", "t.csv: the file is empty"),
        (b"a,b\n", "t.csv: the table has a header but no rows"),
        (b"a,b\n\n,\n", "t.csv: the table has a header but no rows"),
        (b"a,b\n1,2\n3,4,5\n", "t.csv:3: 3 values in a table of 2 columns; quote a value that holds a comma"),
        (b'a,b\n1,2\n"3,4\n5,6\n', "t.csv:3: a quotation mark is not closed, or is not doubled inside a quoted value"),
        (b"a,b\n1,2\n3,\xe9\n", "t.csv:3: byte 0xe9 is not UTF-8 text; save the table as CSV in UTF-8"),
        (b"a,b,a\n1,2,3\n", "t.csv: a: there is more than one column of this name"),
        (b"a;b\n1;2\n", "t.csv:1: the values are separated by semicolons; separate them by commas"),
        (b"a;b\n1,5;2,5\n", "t.csv:1: the values are separated by semicolons; separate them by commas"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_reason(tmp_path, content, expected):
    assert reading(tmp_path, content) == (None, [expected])


def test_every_ragged_line_is_told(tmp_path):
    _, problems = reading(tmp_path, b"a,b\n1,2,3\n1,2\n1,2,3,4\n")
    assert [problem.split(" values")[0] for problem in problems] == ["t.csv:2: 3", "t.csv:4: 4"]


def test_a_file_of_another_format_is_refused(tmp_path):
    assert reading(tmp_path, b"a,b\n", "t.xlsx") == (None, ["t.xlsx: a table is a .csv or a .parquet file"])


@pytest.mark.parametrize("content", [b"PAR1", b"a,b\n1,2\n"])
def test_a_broken_parquet_file_is_refused(tmp_path, content):
    table, problems = reading(tmp_path, content, "t.parquet")
    assert table is None
    assert len(problems) == 1
    assert problems[0].startswith("t.parquet: cannot be read as Parquet: ")


def test_an_empty_parquet_file_is_refused(tmp_path):
    assert reading(tmp_path, b"", "t.parquet") == (None, ["t.parquet: the file is empty"])


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    findings = Findings()
    assert read(str(tmp_path / "none.csv"), findings) is None
    (tmp_path / "folder.csv").mkdir()
    assert read(str(tmp_path / "folder.csv"), findings) is None
    with pytest.raises(UserError) as caught:
        findings.raise_if_any()
    assert str(caught.value).replace(f"{tmp_path}/", "").splitlines() == [
        "none.csv: cannot be read: No such file or directory",
        "folder.csv: cannot be read: Is a directory",
    ]


def test_parquet_tables_without_rows_are_refused(tmp_path):
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "source.parquet")
    _, problems = reading(tmp_path, (tmp_path / "source.parquet").read_bytes(), "t.parquet")
    assert problems == ["t.parquet: the table has no rows"]


def test_a_table_of_more_rows_than_can_be_counted_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("optim.data.reading.MOST_ROWS", 2)
    _, problems = reading(tmp_path, b"a\n1\n2\n3\n")
    assert problems == ["t.csv: 3 rows are more than the 2 that there is room for; take a sample of them"]
