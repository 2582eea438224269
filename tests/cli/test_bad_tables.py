"""Invalid tables are refused by check and fit with the file, the line and the fix."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import polars as pl
import pytest

CONFIG = "data: {source: table.csv, target: answer}\nmodel: {layers: [{dense: 4}]}\n"
ROWS = "".join(f"{index},{'yes' if index % 2 else 'no'}\n" for index in range(20))
NAMES = "age,answer\n"


def with_column(name: str, values: list[str]) -> str:
    """Return a table of 20 rows with one more column that repeats `values`."""
    rows = [f"{index},{values[index % len(values)]},{'yes' if index % 2 else 'no'}"
            for index in range(20)]  # fmt: skip
    return "\n".join([f"age,{name},answer", *rows]) + "\n"


# name: (table, parts of the message)
TABLES: dict[str, tuple[str | bytes, list[str]]] = {
    "empty": ("", ["table.csv", "an empty file"]),
    "blank lines": ("\n\n \n", ["table.csv", "empty"]),
    "header only": (NAMES, ["table.csv", "rows", "no rows"]),
    "one row": (NAMES + "1,yes\n", ["config.yaml:1:7 data.split", "at least 3 rows"]),
    "two rows": (NAMES + "1,yes\n2,no\n", ["config.yaml:1:7 data.split", "at least 3 rows"]),
    "one class": (
        NAMES + ROWS.replace("no", "yes"),
        ["table.csv", "at least two classes in 'answer'", "only 'yes'"],
    ),
    "class of one row": (
        NAMES + ROWS + "3,maybe\n",
        ["data.split.by", "at least 2 rows of every class", "'maybe'", "random"],
    ),
    "two classes of one row": (
        NAMES + ROWS + "3,maybe\n4,perhaps\n",
        ["data.split.by", "'maybe', 'perhaps'"],
    ),
    "no such target": ("age,result\n" + ROWS, ["answer", "(age, result)"]),
    "no target value": (
        NAMES + "".join(f"{index},\n" for index in range(20)),
        ["table.csv", "rows with a target", "none with a target"],
    ),
    "target values that are NaN": (
        NAMES + "".join(f"{index},NaN\n" for index in range(20)),
        ["table.csv", "rows with a target"],
    ),
    "no feature": ("answer\n" + "yes\nno\n" * 10, ["table.csv", "at least one feature"]),
    "empty features": (
        NAMES + "".join(f",{'yes' if index % 2 else 'no'}\n" for index in range(20)),
        ["table.csv", "a feature that varies", "all are empty"],
    ),
    "constant features": (
        NAMES + "".join(f"1,{'yes' if index % 2 else 'no'}\n" for index in range(20)),
        ["table.csv", "a feature that varies", "empty or constant"],
    ),
    "infinity": (with_column("size", ["1", "2", "inf"]), ["table.csv:4", "finite", "'size'"]),
    "number too large": (
        with_column("size", ["1", "2", "1e400"]),
        ["table.csv:4", "finite", "'size'"],
    ),
    "a word among numbers": (
        with_column("size", [str(number) for number in range(19)] + ["big"]),
        ["table.csv:21", "a number in 'size'", "'big'", "data.columns.size.kind", "null_values"],
    ),
    "infinite target value": (
        "age,answer\n" + "".join(f"{index},{index * 1.5}\n" for index in range(30)) + "31,inf\n",
        ["table.csv:32", "a finite number in 'answer'", "'inf'"],
    ),
    "constant numeric target": (
        NAMES + "".join(f"{index},2.5\n" for index in range(20)),
        ["table.csv", "'answer'", "the same number in every row"],
    ),
    "line too short": (
        NAMES + ROWS + "7\n",
        ["table.csv:22", "2 fields, as in the header", "1 field"],
    ),
    "line too long": (NAMES + "1,yes,3\n" + ROWS, ["table.csv:2", "2 fields", "3 fields"]),
    "many lines too long": (
        NAMES + "".join(f"{row},{row % 7},{'yes' if row % 2 else 'no'}\n" for row in range(50)),
        ["table.csv data.csv.names", "set data.csv.names: [row, age, answer]"],
    ),
    "open quote": (NAMES + '1,"yes\n' + ROWS, ["table.csv:2", "an unclosed quote"]),
    "text after a quote": (NAMES + ROWS + '5,"yes"x\n', ["table.csv:22", "after a closing quote"]),
    "duplicate names": ("age,age,answer\n1,2,yes\n", ["table.csv:1", "'age' 2 times", "rename"]),
    "duplicate names apart from spaces": ("age, age ,answer\n1,2,yes\n", ["table.csv:1", "'age'"]),
    "binary": (bytes(range(256)) * 20, ["table.csv:", "binary data"]),
    "zip": (b"PK\x03\x04" + bytes(200), ["table.csv", "zip archive", "damaged"]),
    "parquet by another name": (b"PAR1" + bytes(200), ["table.csv", "a Parquet file"]),
    "broken gzip": (b"\x1f\x8b\x08\x00broken", ["table.csv", "gzip", "damaged"]),
    "windows-1252": (
        NAMES.encode() + "1,caf\xe9\n".encode("windows-1252") + ROWS.encode(),
        ["table.csv:2", "0xE9", "data.csv.encoding"],
    ),
    "utf-16": ((NAMES + ROWS).encode("utf-16"), ["table.csv", "UTF-16", "data.csv.encoding"]),
    "other separator": (
        (NAMES + ROWS).replace(",", ";"),
        ["'answer'", "separated by ';'", "data.csv.separator"],
    ),
}


@pytest.fixture
def config(folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, folder: Path, config: Path, refused_by_check_and_fit: Callable) -> None:
    content, mentions = TABLES[name]
    content = content if isinstance(content, bytes) else content.encode()
    (folder / "table.csv").write_bytes(content)
    refused_by_check_and_fit(config.name, mentions=mentions)


def _npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


TABLE = b"age,answer\n" + b"1,yes\n2,no\n" * 9
LISTS = pl.DataFrame({"age": [[1, 2]] * 20, "size": range(20), "answer": ["yes", "no"] * 10})
DATES = pl.DataFrame({"age": range(20), "answer": ["2024-01-01"] * 20}).with_columns(
    pl.col("answer").str.to_date()
)
# name: (name of the file, its bytes, parts of the message)
OTHER_FILES: dict[str, tuple[str, bytes, list[str]]] = {
    "no parquet": ("x.parquet", b"hello", ["x.parquet", "Parquet"]),
    "half a parquet": ("x.parquet", _parquet(LISTS)[:-20], ["x.parquet", "Parquet"]),
    "lists in parquet": ("x.parquet", _parquet(LISTS), ["x.parquet", "'age'", "List(Int64)"]),
    "dates as target": ("x.parquet", _parquet(DATES), ["x.parquet", "dates in 'answer'"]),
    "no rows in parquet": ("x.parquet", _parquet(LISTS.head(0)), ["x.parquet", "no rows"]),
    "no arrow": ("x.arrow", b"hello", ["x.arrow", "Arrow"]),
    "no npz": ("x.npz", b"hello", ["x.npz", "NPZ"]),
    "objects in npz": (
        "x.npz",
        _npz(age=np.array([{}] * 20), size=np.arange(20.0), answer=np.arange(20) % 2),
        ["x.npz", "'age'"],
    ),
    "arrays of two lengths": (
        "x.npz",
        _npz(age=np.arange(20), answer=np.arange(19)),
        ["x.npz", "20", "19"],
    ),
    "no JSON": ("x.ndjson", b'{"age": 1, "answer": 2}\nhello\n', ["x.ndjson:2", "JSON"]),
    "a list in JSON": ("x.ndjson", b'{"age": 1, "answer": 2}\n[1]\n', ["x.ndjson:2"]),
    "JSON in JSON": (
        "x.ndjson",
        b'{"age": {"years": 1}, "size": 1, "answer": "yes"}\n{"size": 2, "answer": "no"}\n' * 9,
        ["x.ndjson", "'age'"],
    ),
    "a spreadsheet": ("x.xlsx", b"PK\x03\x04", ["x.xlsx", "save the sheet as CSV"]),
    "an unknown ending": ("x.dat2", TABLE, ["x.dat2", "data.format"]),
    "no ending": ("x", TABLE, ["no extension", "data.format"]),
    "empty parquet": ("x.parquet", b"", ["x.parquet"]),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_files(
    name: str, folder: Path, config: Path, refused_by_check_and_fit: Callable
) -> None:
    file, content, mentions = OTHER_FILES[name]
    (folder / file).write_bytes(content)
    refused_by_check_and_fit(config.name, f"data.source={file}", mentions=mentions)


def test_directory_in_place_of_a_table(
    config: Path, folder: Path, refused_by_check_and_fit: Callable
) -> None:
    (folder / "tables.csv").mkdir()
    source = "data.source=tables.csv"
    refused_by_check_and_fit(config.name, source, mentions=["tables.csv", "an empty directory"])
    (folder / "tables.csv" / "part.csv").touch()
    refused_by_check_and_fit(
        config.name, source, mentions=["tables.csv", "a directory", "tables.csv/*.csv"]
    )


def test_url_in_place_of_a_table(config: Path, refused_by_check_and_fit: Callable) -> None:
    mentions = ["https://example.com/x.csv", "a URL", "download"]
    refused_by_check_and_fit(
        config.name, "data.source=https://example.com/x.csv", mentions=mentions
    )


def test_file_name_too_long(config: Path, refused_by_check_and_fit: Callable) -> None:
    refused_by_check_and_fit(config.name, f"data.source={'x' * 5000}.csv", mentions=["too long"])


def test_pipe_in_place_of_a_table(
    config: Path, folder: Path, refused_by_check_and_fit: Callable
) -> None:
    os.mkfifo(folder / "pipe.csv")
    refused_by_check_and_fit(config.name, "data.source=pipe.csv", mentions=["pipe.csv", "a pipe"])


def test_broken_link(config: Path, folder: Path, refused_by_check_and_fit: Callable) -> None:
    (folder / "link.csv").symlink_to(folder / "gone.csv")
    refused_by_check_and_fit(config.name, "data.source=link.csv", mentions=["link.csv"])


def test_files_with_different_columns(
    config: Path, folder: Path, refused_by_check_and_fit: Callable
) -> None:
    (folder / "more.csv").write_text("agge,answer\n1,yes\n")
    mentions = ["more.csv", "'age'", "did you mean 'agge'?"]
    refused_by_check_and_fit(config.name, "data.source=[table.csv, more.csv]", mentions=mentions)


def test_every_missing_file_is_reported(config: Path, refused_by_check_and_fit: Callable) -> None:
    source = "data.source={train: table.csv, validation: no.csv, test: nowhere/*.csv}"
    refused_by_check_and_fit(config.name, source, mentions=["no.csv", "nowhere/*.csv"])


def test_class_that_occurs_only_in_the_test_file(
    config: Path, folder: Path, refused_by_check_and_fit: Callable
) -> None:
    (folder / "test.csv").write_text("age,income,city,answer\n1,2,A,maybe\n")
    source = "data.source={train: table.csv, test: test.csv}"
    refused_by_check_and_fit(config.name, source, mentions=["test.csv:2", "'maybe'", "'no', 'yes'"])


def test_negative_weight(config: Path, folder: Path, refused_by_check_and_fit: Callable) -> None:
    (folder / "table.csv").write_text(with_column("weight", ["1", "-1"]))
    refused_by_check_and_fit(
        config.name, "data.weight=weight", mentions=["table.csv:3", "weight", "'-1'"]
    )


def test_missing_target_is_an_error_if_configured(
    config: Path, folder: Path, refused_by_check_and_fit: Callable
) -> None:
    (folder / "table.csv").write_text(NAMES + ROWS + "3,\n")
    mentions = ["table.csv:22", "a value in 'answer'", "data.clean.missing_target"]
    refused_by_check_and_fit(config.name, "data.clean.missing_target=error", mentions=mentions)


def test_all_rows_dropped(config: Path, folder: Path, refused_by_check_and_fit: Callable) -> None:
    names = "size,other,answer\n"
    rows = [f"{'' if index % 2 else index},{index if index % 2 else ''},{'yes' if index % 3 else 'no'}\n"
            for index in range(30)]  # fmt: skip
    (folder / "table.csv").write_text(names + "".join(rows))
    mentions = ["override 'data.numeric.impute=drop'", "training rows"]
    refused_by_check_and_fit(config.name, "data.numeric.impute=drop", mentions=mentions)


@pytest.mark.parametrize(
    ("forbidden", "arguments"),
    [
        ("table.csv", ["check", "good.yaml"]),
        ("good.yaml", ["check", "good.yaml"]),
        (".", ["check", "good.yaml"]),
        ("table.csv", ["init", "table.csv", "--target=answer", "--output=-"]),
    ],
)
def test_no_permission(
    forbidden: str, arguments: list[str], folder: Path, trainer: Callable
) -> None:
    """In a child process that gives up the permissions of root."""
    command, name, *options = arguments
    assert (
        trainer(command, name, *options).code == 0
    )  # imports modules before permissions are dropped
    for directory in folder.parents:
        if directory.stat().st_uid == os.getuid() and directory.is_relative_to(gettempdir()):
            directory.chmod(directory.stat().st_mode | 0o055)
    folder.chmod(0o755)
    (folder / forbidden).chmod(0)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            result = trainer(command, folder / name, *options)
            os.write(writing, result.err.encode())
            code = result.code
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        message = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2, message
    (folder / forbidden).chmod(0o755)
    assert "no permission" in message
    assert "chmod u+r" in message


@pytest.mark.parametrize(
    ("content", "overrides"),
    [
        pytest.param(b"\xef\xbb\xbf" + (NAMES + ROWS).encode(), [], id="byte order mark"),
        pytest.param((NAMES + ROWS).replace("\n", "\r\n").encode(), [], id="Windows line ends"),
        pytest.param((NAMES + ROWS).replace("\n", "\r").encode(), [], id="old Mac line ends"),
        pytest.param((NAMES + ROWS)[:-1].encode(), [], id="no last line end"),
        pytest.param((NAMES + ROWS + "\n\n").encode(), [], id="blank lines at the end"),
        pytest.param(
            (NAMES + ROWS).replace("yes", '"yes\nindeed"').encode(), [], id="quoted line ends"
        ),
        pytest.param((NAMES + ROWS).replace("yes", '"y""es, so"').encode(), [], id="quotes"),
        pytest.param((NAMES + ROWS).replace("yes", "j\u00e4\U0001f600").encode(), [], id="unicode"),
        pytest.param(
            (NAMES + ROWS).replace("yes", "j\u00e4").encode("latin-1"),
            ["data.csv.encoding=latin-1"],
            id="latin-1",
        ),
        pytest.param((NAMES + ROWS).encode("utf-16"), ["data.csv.encoding=utf-16"], id="utf-16"),
        pytest.param(
            (NAMES + ROWS).replace(",", ";").encode(), ["data.csv.separator=;"], id="semicolons"
        ),
        pytest.param(
            (NAMES + ROWS).replace(",", "\t").encode(), [r"data.csv.separator=\t"], id="tabs"
        ),
        pytest.param(
            (NAMES + ROWS).replace(",", " \t ").encode(), ["data.csv.separator= "], id="spaces"
        ),
        pytest.param(
            ("# about\n" + NAMES + "# more, of it\n" + ROWS).encode(),
            ["data.csv.comment='#'"],
            id="comments",
        ),
        pytest.param(
            ("about\n\n" + NAMES + ROWS).encode(), ["data.csv.skip=2"], id="lines to skip"
        ),
        pytest.param(
            ROWS.encode(), ["data.csv.header=false", "data.csv.names=[n, answer]"], id="no header"
        ),
        pytest.param(
            (NAMES + ROWS).replace("yes", '"y\\", so"').encode(),
            ["data.csv.escape=\\"],
            id="escape",
        ),
        pytest.param((NAMES + ROWS).replace(",", " , ").encode(), [], id="spaces around fields"),
        pytest.param(with_column("size", ["1", "", "NA", "2.5"]).encode(), [], id="gaps"),
        pytest.param(with_column("a.b", ["1", "2"]).encode(), [], id="a dot in a name"),
        pytest.param(with_column("a=b", ["1", "2"]).encode(), [], id="an equals sign in a name"),
        pytest.param(with_column("", ["1", "2"]).encode(), [], id="a column without a name"),
        pytest.param(
            with_column("size", ["1", "2", "inf"]).encode(),
            ["data.columns.size.kind=categorical"],
            id="infinity as a category",
        ),
    ],
)
def test_unusual_tables_that_are_read(
    content: bytes, overrides: list[str], folder: Path, config: Path, trainer: Callable
) -> None:
    (folder / "table.csv").write_bytes(content)
    result = trainer("check", config.name, *overrides, "--json")
    assert result.code == 0, result
    assert sum(result.json["rows"].values()) == 20


@pytest.mark.parametrize("value", ["", "7", "same"])
def test_constant_column_is_a_warning(
    value: str, folder: Path, config: Path, trainer: Callable
) -> None:
    (folder / "table.csv").write_text(with_column("size", [value]))
    result = trainer("check", config.name, "--json")
    assert result.code == 0
    assert result.json["features"] == ["age"]
    assert any("size" in warning for warning in result.json["warnings"])
    assert "size" in result.err


def test_class_of_one_row_with_a_random_split(
    folder: Path, config: Path, trainer: Callable
) -> None:
    (folder / "table.csv").write_text(NAMES + ROWS.replace("3,yes", "3,maybe", 1))
    result = trainer("check", config.name, "data.split.by=random", "seed=1", "--json")
    assert result.code in (0, 2)  # if it is a test row, training has not seen its class
    assert result.code == 0 or "'maybe'" in result.err


def test_paths_with_spaces_and_unicode(
    folder: Path, trainer: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = folder / "M\u00fc \u6f22\u5b57 [1] 'x' \U0001f600"
    directory.mkdir()
    (folder / "table.csv").rename(directory / "t \u00e9*.csv")
    (directory / "good one.yaml").write_text(
        'data: {source: "t \u00e9*.csv", target: answer}\nmodel: {layers: [{dense: 4}]}\n'
    )
    assert trainer("check", directory / "good one.yaml").code == 0
    monkeypatch.chdir(directory)
    assert trainer("check", "good one.yaml", "--json").code == 0


def test_thousands_of_columns(folder: Path, config: Path, trainer: Callable) -> None:
    names = ",".join(f"c{index}" for index in range(1_000))
    rows = "".join(
        ",".join(map(str, row)) + f",{'yes' if index % 2 else 'no'}\n"
        for index, row in enumerate(np.random.default_rng(0).integers(0, 1000, (12, 1_000)))
    )
    (folder / "table.csv").write_text(f"{names},answer\n{rows}")
    result = trainer("check", config.name)
    assert result.code == 0
    assert "1,000 columns, 1,000 inputs" in result.out
    assert len(result.out) < 5_000
