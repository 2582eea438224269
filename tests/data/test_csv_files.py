from __future__ import annotations

import csv as python_csv
import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config.data import Csv
from trainer.data import csv_records
from trainer.data.csv_files import csv_line, read_csv, read_csv_blocks, read_csv_header
from trainer.errors import DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tab le ü.csv"


def read(file: Path, content: str | bytes, **csv: object) -> dict[str, list[str | None]]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    frame, _ = read_csv(file, Csv(**csv))
    return frame.to_dict(as_series=False)


def problem(file: Path, content: str | bytes, **csv: object) -> tuple[str, str, str, str]:
    with pytest.raises(DataError) as caught:
        read(file, content, **csv)
    first = caught.value.problems[0]
    return first.where.removeprefix(str(file)), first.expected, first.found, first.fix


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\n1,x\n2,y",
        "a,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y\r",
        "\ufeffa,b\n1,x\n2,y\n",
        "\n\na,b\n1,x\n\n2,y\n\n",
        'a,"b"\n"1",x\n2,"y"\n',
        " a , b \n 1 , x \n2,y \n",
        gzip.compress(b"a,b\n1,x\n2,y\n", mtime=0),
    ],
)
def test_equivalent_files(file, content):
    assert read(file, content) == {"a": ["1", "2"], "b": ["x", "y"]}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "windows-1252", "utf-16"])
def test_encodings(file, encoding):
    content = "a,b\nä,1\n".encode(encoding)
    assert read(file, content, encoding=encoding) == {"a": ["ä"], "b": ["1"]}


def test_wrong_encoding(file):
    utf8 = "a,b\nä,1\n".encode()
    assert "data.csv.encoding: utf-8" in problem(file, utf8, encoding="latin-1")[3]
    assert "data.csv.encoding: utf-8" in problem(file, utf8, encoding="utf-16")[3]
    assert read(file, b"a,b\n1,\xe9", encoding="latin-1")["b"] == ["é"]


def test_quoted_newlines_separators_and_quotes(file):
    content = 'a,b\n"x\ny",1\n"p, ""q""",2\n'
    assert read(file, content) == {"a": ["x\ny", 'p, "q"'], "b": ["1", "2"]}


def test_stray_quotes_are_text(file):
    assert read(file, 'a,b\n5" pipe,1\n6" pipe,2\n')["a"] == ['5" pipe', '6" pipe']


def test_missing_values(file):
    result = read(file, 'a,b\n, NA \n?,1\n"",nan\n')
    assert result == {"a": [None, None, None], "b": [None, "1", None]}
    assert read(file, "a,b\n-99,\n", null_values=["-99"]) == {"a": [None], "b": [None]}


def test_missing_values_in_the_last_column(file):
    assert read(file, "a,b\n1,\n\n2,x\n3,\n")["b"] == [None, "x", None]


def test_one_column(file):
    assert read(file, "a\n1\n\n2\n") == {"a": ["1", "2"]}


def test_decimal_commas(file):
    content = "a;b\n3,14;1.234\n-,5;1.234.567,5\n1,5e3;x,y\n"
    result = read(file, content, separator=";", decimal_comma=True)
    assert result == {"a": ["3.14", "-.5", "1.5e3"], "b": ["1234", "1234567.5", "x,y"]}


def test_no_thousands_separator_after_leading_zero(file):
    result = read(file, "a;b\n0.042;1.042\n-0.715;-1.715\n", separator=";", decimal_comma=True)
    assert result == {"a": ["0.042", "-0.715"], "b": ["1042", "-1715"]}


def test_decimal_commas_with_units_and_spaces(file):
    content = "a;b;c\n1 234,5;1.234,50 €;x,5\n-2,5;€ 2,5;5,x\n1’000;(12,5 %);abc\n"
    result = read(file, content, separator=";", decimal_comma=True)
    assert result == {
        "a": ["1 234.5", "-2.5", "1’000"],
        "b": ["1234.50 €", "€ 2.5", "(12.5 %)"],
        "c": ["x,5", "5,x", "abc"],
    }


def test_tsv_extension(tmp_path):
    assert read(tmp_path / "x.tsv", "a\tb\n1\t2\n") == {"a": ["1"], "b": ["2"]}
    assert read(tmp_path / "x.tsv", "a;b\n1;2\n", separator=";") == {"a": ["1"], "b": ["2"]}


def test_columns_without_name(file):
    file.write_text(",a\n0,x\n")
    frame, notes = read_csv(file, Csv())
    assert frame.columns == ["column_1", "a"]
    assert "column 1 has no name" in notes[0]


@pytest.mark.parametrize(
    ("content", "where", "result"),
    [
        (b"", "", "an empty file"),
        (b" \n\n", "", "an empty file"),
        (b"a,b\n1,2\n1,2,3\n", ":3", "3 fields"),
        (b"a,b\n1,2\n\n1\n", ":4", "1 field"),
        (b'a,b\n"x\ny",2\n1\n', ":4", "1 field"),
        (b"a,a,b\n1,2,3\n", ":1", "'a' 2 times"),
        (b"a,b\n1,\xff\n", ":2", "byte 0xFF at byte 3 of the line"),
        (b"\xe9,b\n1,2\n", ":1", "byte 0xE9 at byte 1 of the line"),
        (b'a,b\n1,2\n"3,4\n5,6\n', ":3", 'an unclosed quote (")'),
        (b'a,b\n1,"x"y\n', ":2", 'text after a closing quote (")'),
        (b"a,b\n1,\x00\x01\n", ":2", "binary data (a zero byte)"),
        (b"PK\x03\x04\x00\x00", "", "a damaged one"),
        (b"PAR1\x00\x00", "", "a Parquet file"),
        (b"\x1f\x8b\x08broken", "", "a damaged one"),
        ("a,b\n1,2\n".encode("utf-16"), "", "UTF-16 text"),
    ],
)
def test_malformed_files(file, content, where, result):
    location, _, found, _ = problem(file, content)
    assert (location, found[: len(result)]) == (where, result)


def test_many_ragged_lines_are_counted(file):
    file.write_text("a,b\n" + "1\n" * 9)
    with pytest.raises(DataError, match="4 more lines"):
        read_csv(file, Csv())


@settings(max_examples=20)
@given(
    rows=st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=8),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=12,
    )
)
def test_round_trip_of_python_csv_writer(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = python_csv.writer(stream, lineterminator="\n", quoting=python_csv.QUOTE_ALL)
        writer.writerows([["a", "b"], *rows])
    frame, _ = read_csv(path, Csv(null_values=[]))
    cells = pl.all().str.strip_chars()
    written = pl.DataFrame(rows, schema=["a", "b"], orient="row")
    assert frame.equals(written.select(pl.when(cells != "").then(cells)))
    line = 2
    for index, row in enumerate(rows):
        assert csv_line(path, Csv(), index) == line
        line += 1 + sum(cell.count("\n") for cell in row)


def in_blocks(path: Path, csv: Csv) -> pl.DataFrame:
    names, _ = read_csv_header(path, csv)
    return pl.concat(list(read_csv_blocks(path, csv, names)))


def test_no_header(file):
    content = "1,x\n\n2,y\n"
    assert read(file, content, header=False) == {"column_1": ["1", "2"], "column_2": ["x", "y"]}
    assert read(file, content, header=False, names=["a", "b"]) == {"a": ["1", "2"], "b": ["x", "y"]}
    assert [csv_line(file, Csv(header=False), row) for row in (0, 1)] == [1, 3]


def test_names_replace_the_header(file):
    wanted = {"p": ["1", "2"], "q": ["x", "y"]}
    for header in ("a,b", "a,a", "a", '"a\nb",c'):
        assert read(file, f"{header}\n1,x\n2,y\n", names=["p", "q"]) == wanted
    where, expected, result, _ = problem(file, "a,b,c\n1,2,3\n4,5,6\n", names=["p", "q"])
    assert (where, result) == ("", "2")
    assert "3 names in data.csv.names" in expected
    assert problem(file, "a\n1,2\n3\n4,5\n", names=["p", "q"])[0] == ":3"


@pytest.mark.parametrize(
    "content",
    [
        "# one\n#two, three\na,b\n1,x\n#\n2,y\n# end",
        '# a "quote\na,b\n1,x\n# it\'s "\n2,y\n',
        "#\r\na,b\r\n1,x\r\n# \r\n2,y\r\n",
    ],
)
def test_comments(file, content):
    assert read(file, content, comment="#") == {"a": ["1", "2"], "b": ["x", "y"]}
    lines = content.split("\n")
    at = 1 + next(number for number, line in enumerate(lines) if line.startswith("2,"))
    assert csv_line(file, Csv(comment="#"), 1) == at


def test_comment_sign_in_a_quoted_field_is_text(file):
    result = read(file, 'a,b\n"x\n# y",1\n# z\n#p,2\n', comment="# ")
    assert result == {"a": ["x\n# y", "#p"], "b": ["1", "2"]}


def test_lines_after_a_large_cell(file):
    file.write_text(f'a,b\n"{"x" * 200_000}\ny",1\n2,3\n')
    assert csv_line(file, Csv(), 1) == 4


def test_skipped_lines(file):
    content = 'made by "x\n\na,b\n1,x\n2,y\n'
    assert read(file, content, skip=2) == {"a": ["1", "2"], "b": ["x", "y"]}
    assert csv_line(file, Csv(skip=2), 0) == 4
    assert problem(file, content + "3\n", skip=2)[0] == ":6"
    assert "5 lines" in problem(file, content, skip=5)[2]


def test_escaped_characters(file):
    lines = ["a,b", r'"p \"q\", r",1', r"x\, y,\N", r'\\,"\N"', '"z \\', r'w",\t', "last,2"]
    result = read(file, "\n".join(lines), escape="\\")
    assert result == {
        "a": ['p "q", r', "x, y", "\\", "z \nw", "last"],
        "b": ["1", None, None, "t", "2"],
    }
    assert [csv_line(file, Csv(escape="\\"), row) for row in range(5)] == [2, 3, 4, 5, 7]


@pytest.mark.parametrize(
    "content",
    [
        "  a   b  \n 1.5   x\n  22 y  \n",
        "a\tb\n1.5 \t x\n\n22\t\ty",
        'a b\r\n1.5 "x"\r\n   22  y\r\n',
    ],
)
def test_space_separated_columns(file, content):
    assert read(file, content, separator=" ") == {"a": ["1.5", "22"], "b": ["x", "y"]}


def test_spaces_in_quotes_with_space_separator(file):
    result = read(file, 'a  b\n1  "ford  pinto"\n2\t"a\tb"\n', separator=" ")
    assert result["b"] == ["ford  pinto", "a\tb"]


def test_decimal_commas_in_quotes(file):
    content = 'a,b\n"1,5",x\n"1.234,25","2,5"\n'
    result = read(file, content, decimal_comma=True)
    assert result == {"a": ["1.5", "1234.25"], "b": ["x", "2.5"]}


@pytest.mark.parametrize(
    "csv",
    [
        {},
        {"header": False},
        {"comment": "#"},
        {"skip": 3},
        {"escape": "\\"},
        {"separator": " "},
        {"names": ["p", "q", "r"]},
        {"header": False, "comment": "#", "skip": 1, "escape": "\\", "separator": ";"},
    ],
)
def test_blocks_are_equal_to_whole_file(file, csv, monkeypatch):
    monkeypatch.setattr(csv_records, "_BLOCK", 1 << 16)
    monkeypatch.setattr(csv_records, "_CHUNK", 1 << 15)
    monkeypatch.setattr("trainer.data.compression.CHUNK_BYTES", 1 << 15)
    csv = Csv(**csv)
    separator = csv.separator
    rows = [f"{row}{separator}w{row % 7}{separator}{'x' * 120}" for row in range(2_400)]
    for row in range(11, len(rows), 100):
        rows[row] = f'{row}{separator}"a ""w{separator}\n"""{separator}y'
    if csv.comment:
        rows[1_400:1_400] = ['# a comment with a quote, "'] * 3
    file.write_text("\n".join([f"a{separator}b{separator}c", "", "", *rows]))
    whole, _ = read_csv(file, csv)
    assert in_blocks(file, csv).equals(whole)
    lines = file.read_text().split("\n")
    for row in (0, 11, 2_200, whole.height - 1):
        line = csv_line(file, csv, row)
        assert lines[line - 1].startswith(whole[row, 0])


def test_warning_about_header_that_looks_like_data(file):
    file.write_text("5.1,3.5,setosa\n" + "4.9,3.0,setosa\n4.7,3.2,versicolor\n" * 5)
    _, notes = read_csv(file, Csv())
    assert "data.csv.header: false" in notes[0]
    assert read_csv(file, Csv(header=False))[1] == []
    file.write_text("4,3,4\n" + "4.9,3.0,1\n" * 5)
    with pytest.raises(DataError, match=r"looks like data.*data\.csv\.header=false"):
        read_csv(file, Csv())


@settings(max_examples=20)
@given(
    rows=st.lists(
        st.lists(
            st.text(st.sampled_from('a1 \\",;\n#N'), max_size=6).map(str.strip),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=8,
    ),
    quoting=st.sampled_from([python_csv.QUOTE_ALL, python_csv.QUOTE_NONE]),
)
def test_escaped_text_of_python_csv_writer(tmp_path_factory, rows, quoting):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = python_csv.writer(
            stream, lineterminator="\n", quoting=quoting, escapechar="\\", doublequote=False
        )
        writer.writerows([["a", "b"], *rows])
    csv = Csv(null_values=[], escape="\\")
    frame, _ = read_csv(path, csv)
    assert frame.rows() == [tuple(cell or None for cell in row) for row in rows]
    assert in_blocks(path, csv).equals(frame)


@settings(max_examples=20)
@given(
    rows=st.lists(
        st.lists(st.text(st.sampled_from("ab1ü"), min_size=1, max_size=4), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    ),
    blanks=st.lists(st.text(" \t", min_size=1, max_size=5), min_size=3, max_size=3),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_space_separated_fields_equal_str_split(tmp_path_factory, rows, blanks, end):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    before, between, after = blanks
    lines = [f"{before}{between.join(row)}{after}" for row in [["p", "q"], *rows]]
    path.write_bytes(end.join(lines).encode())
    frame, _ = read_csv(path, Csv(null_values=[], separator=" "))
    assert frame.rows() == [tuple(line.split()) for line in lines[1:]]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
@pytest.mark.parametrize("piece", [1, 2, 3, 5, 8])
def test_chunk_boundaries(file, monkeypatch, piece, encoding):
    lines = [
        "one", "# é", "a, b", r'"\\\"é\" , \\",x', "# \"", r"é\,\\,\N", '"p', '# q\\', 'r",2', r"\#,3",
    ]  # fmt: skip
    csv = Csv(skip=1, comment="#", escape="\\", encoding=encoding)
    file.write_bytes("\r\n".join(lines).encode(encoding))
    monkeypatch.setattr("trainer.data.compression.CHUNK_BYTES", piece)
    monkeypatch.setattr("trainer.data.csv_records._BLOCK", 4)
    whole, _ = read_csv(file, csv)
    assert whole.to_dict(as_series=False) == {
        "a": ['\\"é" , \\', "é,\\", "p\r\n# q\nr", "#"],
        "b": ["x", None, "2", "3"],
    }
    assert in_blocks(file, csv).equals(whole)
    assert [csv_line(file, csv, row) for row in range(4)] == [4, 6, 7, 10]
