from __future__ import annotations

from pathlib import Path

import pytest

from trainer.config.data import Csv
from trainer.data.csv_advice import advice, looks_like_data
from trainer.data.csv_files import read_csv
from trainer.errors import DataError

ROWS = [("1,5", "north", "3"), ("-2,25", "south", "4"), ("0,5", "west", "5")] * 4


def _table(sign: str, *, commas: bool = False) -> str:
    rows = [("a", "b", "y"), *ROWS]
    text = "\n".join(sign.join(row) for row in rows) + "\n"
    return text if commas else text.replace("1,5", "1").replace(",", sign)


CASES = {
    "semicolons": (_table(";").replace(";25", "").replace("0;", ""), {"separator": ";"}),
    "semicolons and decimal commas": (
        _table(";", commas=True),
        {"separator": ";", "decimal_comma": True},
    ),
    "tabs": ("a\tb\ty\n" + "1\tx y\t2\n" * 5, {"separator": "\t"}),
    "bars": ("a|b|y\n" + "1|x y|2\n" * 5, {"separator": "|"}),
    "spaces": ("  a   b  y\n" + " 1.5  10  no\n" * 5, {"separator": " "}),
    "comments": ("# one\n# two, three\na,b,y\n" + "1,2,3\n" * 5, {"comment": "#"}),
    "percent comments": ("% one\na,b,y\n" + "1,2,3\n" * 5, {"comment": "%"}),
    "lines before": ("Report of May\n\nunits: mm, s\na,b,y\n" + "1,2,3\n" * 5, {"skip": 3}),
    "lines before, other separator": (
        "Report\na;b;y\n" + "1,5;2;3\n" * 5,
        {"skip": 1, "separator": ";", "decimal_comma": True},
    ),
    "quotes that hold the separator": ('a;b;y\n"1;2";2;"x,y"\n' * 5, {"separator": ";"}),
}


@pytest.mark.parametrize("name", CASES)
def test_advised_settings_read_the_file(tmp_path, name):
    text, wanted = CASES[name]
    path = tmp_path / "x.csv"
    path.write_text(text)
    suggestion = advice(path, Csv())
    assert suggestion is not None
    for setting, value in wanted.items():
        assert f"data.csv.{setting}: " in suggestion.fix
        assert f"data.csv.{setting}=" in suggestion.fix
        assert {"\t": "tab", True: "true"}.get(value, str(value)) in suggestion.fix
    assert suggestion.fix.count("data.csv.") == 2 * len(wanted)
    frame, _ = read_csv(path, Csv(**wanted))
    assert frame.columns == ["a", "b", "y"]
    assert advice(path, Csv(**wanted)) is None


def test_warning_about_decimal_points_with_decimal_comma(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b,y\n" + "".join(f"{at}.5,1.{at}25,x\n" for at in range(9)))
    suggestion = advice(path, Csv(separator=";", decimal_comma=True))
    assert suggestion is not None
    assert "data.csv.decimal_comma=false" in suggestion.fix
    _, (note,) = read_csv(path, Csv(decimal_comma=True))
    assert "'a' has numbers with a decimal point, such as '0.5'" in note
    assert "data.csv.decimal_comma: false" in note
    assert not read_csv(path, Csv())[1]


@pytest.mark.parametrize("cells", ["1.234", "1.234;5,5", "0,5;0.5", "x.5", ""])
def test_no_warning_about_decimal_commas(tmp_path, cells):
    path = tmp_path / "x.csv"
    path.write_text("a\n" + "\n".join(cells.split(";")) + "\n1\n")
    assert not read_csv(path, Csv(separator=";", decimal_comma=True))[1]


@pytest.mark.parametrize("before", ["", "\n", "Report\n"])
def test_warning_about_header_read_as_a_row(tmp_path, before):
    path = tmp_path / "x.csv"
    path.write_text(f"{before}a,b\n" + "1,x\n2,y\n3,z\n")
    csv = Csv(header=False, skip=before.count("Report"))
    _, (note,) = read_csv(path, csv)
    assert "looks like a header (a, b)" in note
    skip = before.count("\n") + 1
    assert f"data.csv.skip: {skip} " in note
    frame, notes = read_csv(path, Csv(header=False, skip=skip))
    assert (frame.height, notes) == (3, [])


@pytest.mark.parametrize(
    "text", ["1,x\n2,y\n3,z\n4,u\n", "q,x\na,y\nb,z\nc,u\n", "?,x\n2,y\n3,z\n4,u\n", "a,a\n1,2\n"]
)
def test_first_row_is_not_a_header(tmp_path, text):
    path = tmp_path / "x.csv"
    path.write_text(text)
    assert not read_csv(path, Csv(header=False))[1]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n1,2,3\n",
        "a,b\n" + "1,2\n" * 20 + "3\n",
        "a b,c d\n1 2,3 4\n" * 5,
        "a,b\n1,2,3,4\n4,5,6,7\n7,8,9,9\n",
        "a\n1\n2\n",
        "a",
        "",
        "no table at all. It has text, in\nlines of\nany, length; or\nnone.",
    ],
)
def test_no_advice_for_unknown_formats(tmp_path, text):
    path = tmp_path / "x.csv"
    path.write_text(text)
    assert advice(path, Csv()) is None


def test_preamble_before_rows_without_header(tmp_path):
    path = tmp_path / "x.csv"
    rows = "".join(f"{at}.5,{at % 3},{'yes' if at % 2 else 'no'}\n" for at in range(20))
    path.write_text("% title\n@relation x\n\n@attribute y {yes,no}\n@data\n" + rows)
    suggestion = advice(path, Csv())
    assert suggestion is not None
    assert "data.csv.skip: 5" in suggestion.fix
    assert "data.csv.header: false" in suggestion.fix
    assert read_csv(path, Csv(skip=5, header=False))[0].shape == (20, 3)
    path.write_text(f"Report\n{rows}")
    assert "data.csv.skip: 1" in getattr(advice(path, Csv()), "fix", "")


def test_skipped_lines_count_from_the_first_line(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("one\n\ntwo\na,b,y\n" + "1,2,3\n" * 5)
    for skip in (0, 1, 2):
        suggestion = advice(path, Csv(skip=skip))
        assert suggestion is not None
        assert "data.csv.skip: 3 " in suggestion.fix


def test_single_quotes(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "".join(f"'{at}, x',1\n" for at in range(9)))
    suggestion = advice(path, Csv())
    assert suggestion is not None
    assert 'data.csv.quote: "\'"' in suggestion.fix
    assert 'data.csv.quote="\'"' in suggestion.fix
    assert read_csv(path, Csv(quote="'"))[0].shape == (9, 2)


def test_header_without_name_for_first_column_advises_names(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("mpg,row\nMazda,21.0,6\nFiat,32.4,4\nVolvo,21.4,4\n")
    suggestion = advice(path, Csv())
    assert suggestion is not None
    assert "data.csv.names: [row_2, mpg, row]" in suggestion.fix
    assert "'data.csv.names=[row_2, mpg, row]'" in suggestion.fix
    frame, _ = read_csv(path, Csv(names=["row_2", "mpg", "row"]))
    assert frame.height == 3


def test_ragged_lines_advise_settings(tmp_path):
    path: Path = tmp_path / "x.csv"
    path.write_text("a;b\n1,5;2\n2,5;3\n3,5;4\n")
    with pytest.raises(DataError) as caught:
        read_csv(path, Csv())
    (problem,) = caught.value.problems
    assert "separator" in problem.expected
    assert "';'" in problem.found
    assert "(on the command line data.csv.separator=';')" in problem.fix


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        ("5.1 3.5 setosa", ["4.9 3.0 setosa", "4.7 3.2 virginica", "4.6 3.1 setosa"]),
        ("39 State-gov <=50K", ["50 Self-emp <=50K", "38 Private <=50K", "53 State-gov >50K"]),
        ("p x s n", ["e x s y", "e b s w", "p x y w", "e x s g"]),
        ("6 148 72 1", ["1 85 66 0", "8 183 64 1", "1 89 66 0"]),
        ("x yes", ["a yes", "b no", "c yes"]),
        ("? 148 yes", ["1 85 no", "? 183 yes", "1 89 no"]),
    ],
)
def test_first_lines_that_look_like_data(first, rows):
    assert looks_like_data(first.split(), [row.split() for row in rows], Csv())


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        ("a b c", ["1 2 x", "2 3 y", "3 4 x"]),
        ("0 1 2", ["1.5 2.5 3.5", "2.5 1.5 1.5", "2.5 2.1 2.2"]),
        ("name 2019 2020", ["x 1 2", "y 2 3", "z 3 4"]),
        ("name 2020", ["x 1", "y 2", "z 3"]),
        ("city region", ["Rome Lazio", "Bari Puglia", "Latina Lazio"]),
        ("id text", ["a1 hello", "a2 world", "a3 there"]),
        ("5 6", ["1 2"]),
    ],
)
def test_first_lines_that_are_headers(first, rows):
    assert not looks_like_data(first.split(), [row.split() for row in rows], Csv())
