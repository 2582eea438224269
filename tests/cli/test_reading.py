"""Files in another format than configured: the message suggests settings that read the file, in
check, init, predict, eval and explain.
"""

from __future__ import annotations

import gzip
import json
import re
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import CommandResult
from tests.marks import slow_except


def table(folder: Path) -> str:
    return (folder / "table.csv").read_text()


def proposed_settings(result: CommandResult) -> list[str]:
    """Return the settings that a message suggests for the command line, split as by a shell."""
    (problem,) = result.json["error"]["problems"]
    found = re.findall(r"\(on the command line (.+?)\)(?=$|,| and )", problem["fix"])
    return [word for text in found for word in shlex.split(text)]


WRITTEN: dict[str, Callable[[str], str | bytes]] = {
    "semicolons and decimal commas": lambda text: re.sub(
        r"^(\d+);", r"\1,5;", text.replace(",", ";"), flags=re.MULTILINE
    ),
    "tabs": lambda text: text.replace(",", "\t"),
    "spaces": lambda text: text.replace(",", "    "),
    "comments": lambda text: f"# one\n# two: 1, 2\n{text}",
    "lines before the header": lambda text: f"Report\n\nof May\n{text}",
    "UTF-16": lambda text: text.encode("utf-16"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_settings_suggested_by_check_and_init_read_the_file(
    name: str, folder: Path, refused: Callable, trainer: Callable
) -> None:
    content = WRITTEN[name](table(folder))
    (folder / "table.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    settings = {"UTF-16": ["data.csv.encoding=utf-16"]}
    for command in (
        ["check", "good.yaml"],
        ["check", "good.yaml", "runtime.engine=streaming"],
        ["init", "table.csv", "--target", "answer"],
    ):
        found = settings.get(name) or proposed_settings(refused(*command, mentions=["table.csv"]))
        assert found
        better = trainer(*command, *found, "--json")
        assert better.code == 0, better
    written = trainer("check", "table.yaml", "--json")
    assert written.code == 0, written
    assert len(written.json["features"]) >= 3


@pytest.fixture
def run(whole_run: Callable) -> Path:
    return whole_run()


def test_settings_suggested_by_predict_and_eval_read_the_file(
    folder: Path, run: Path, refused: Callable, trainer: Callable
) -> None:
    expected = trainer("predict", run, "table.csv", "-o", "-").out
    scores = trainer("eval", run, "--data", "table.csv", "--json").json["metrics"]
    for name, write in WRITTEN.items():
        content = write(table(folder))
        if "decimal" in name:
            content = content.replace(",5;", ",0;")
        path = folder / "other.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        mentions = ["other.csv", "data.csv."]
        result = refused("predict", run, path.name, "-o", "x.csv", mentions=mentions)
        settings = proposed_settings(result) or ["data.csv.encoding=utf-16"]
        assert trainer("predict", run, path.name, *settings, "-o", "-").out == expected, name
        if "decimal" not in name:
            continue
        refused("eval", run, "--data", path.name, mentions=mentions)
        better = trainer("eval", run, *settings, "--data", path.name, "--json")
        assert better.json["metrics"] == scores, name


def test_predict_rows_without_a_header(
    folder: Path, run: Path, refused: Callable, trainer: Callable
) -> None:
    expected = trainer("predict", run, "table.csv", "-o", "-").out
    rows = [line.rpartition(",")[0] for line in table(folder).splitlines()[1:]]
    Path("rows.csv").write_text("\n".join(rows))
    result = refused(
        "predict", run, "rows.csv", "-o", "x.csv", mentions=["first line that looks like data"]
    )
    settings = proposed_settings(result)
    assert settings == ["data.csv.header=false", "data.csv.names=[age, income, city]"]
    assert trainer("predict", run, "rows.csv", *settings, "-o", "-").out == expected
    unnamed = refused("predict", run, "rows.csv", settings[0], "-o", "x.csv", mentions=["column_3"])
    assert proposed_settings(unnamed) == settings[1:]


@pytest.mark.parametrize("engine", slow_except(["streaming"], ["resident", "streaming"]))
def test_train_on_a_file_without_a_header(
    folder: Path, whole_run: Callable, trainer: Callable, engine: str
) -> None:
    text = table(folder).split("\n", 1)[1]
    Path("train.csv").write_text(text)
    settings = ["data.csv.header=false", "data.target=column_4", "data.source=train.csv"]
    run = whole_run(*settings, f"runtime.engine={engine}")
    same = whole_run(f"runtime.engine={engine}")
    result = trainer("predict", run, "train.csv", "-o", "-")
    assert result.out == trainer("predict", same, "table.csv", "-o", "-").out
    scores = trainer("eval", run, "--data", "train.csv", "--json").json["metrics"]
    named = ["data.csv.header=true", "data.csv.names=[column_1, column_2, column_3, column_4]"]
    other = trainer("eval", run, *named, "--data", "table.csv", "--json")
    assert other.json["metrics"] == scores


def test_compressed_files(folder: Path, run: Path, trainer: Callable) -> None:
    expected = trainer("predict", run, "table.csv", "-o", "-").out
    Path("table.csv.gz").write_bytes(gzip.compress(table(folder).encode()))
    with zipfile.ZipFile("table.zip", "w") as archive:
        archive.writestr("inner/table.csv", table(folder))
    for name in ("table.csv.gz", "table.zip"):
        assert trainer("predict", run, name, "-o", "-").out == expected
        assert trainer("check", "good.yaml", f"data.source={name}").code == 0
        assert trainer("check", "--data", "good.yaml", f"data.source={name}").code in {0, 2}


@pytest.mark.parametrize(
    ("command", "mentions"),
    [
        (["predict", "RUN", "table.csv", "fit.epochs=3", "-o", "x.csv"], ["data.csv.…", "'fit'"]),
        (["predict", "RUN", "table.csv", "data.csv.seperator=;", "-o", "x.csv"], ["'separator'"]),
        (
            ["predict", "RUN", "table.csv", "data.csv.separator=ab", "-o", "x.csv"],
            ["one character"],
        ),
        (["eval", "RUN", "data.csv.skip=1"], ["--data FILE"]),
        (["explain", "RUN", "data.csv.skip=1"], ["--rows FILE"]),
        (["init", "table.csv", "-t", "answer", "data.target=x"], ["data.csv.…"]),
    ],
)
def test_invalid_settings_of_files(
    folder: Path, whole_run: Callable, refused: Callable, command: list[str], mentions: list[str]
) -> None:
    run = whole_run() if "RUN" in command else ""
    refused(*[run if word == "RUN" else word for word in command], mentions=mentions)


@pytest.mark.parametrize(
    "arguments", [["check", "good.yaml"], ["init", "table.csv", "-t", "answer"]]
)
def test_first_line_that_looks_like_data(
    folder: Path, trainer: Callable, arguments: list[str]
) -> None:
    lines = table(folder).splitlines()[1:]
    Path("table.csv").write_text("\n".join(["33,1004.5,B,answer", *lines]))
    result = trainer(*arguments)
    assert result.code == 0, result
    assert "warning" in result.err
    assert "data.csv.header: false" in result.err
    streamed = trainer("check", "good.yaml", "runtime.engine=streaming")
    assert "data.csv.header: false" in streamed.err
    Path("table.csv").write_text("\n".join(["33,1004.5,B,yes", *lines]))
    missing = trainer("check", "good.yaml")
    assert missing.code == 2
    assert "data.csv.header=false" in missing.err


def test_objects_in_ndjson(folder: Path, refused: Callable, trainer: Callable) -> None:
    rows = [
        {"x": index, "meta": {"k": [index]}, "answer": "no" if index % 3 else "yes"}
        for index in range(40)
    ]
    Path("t.ndjson").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["good.yaml", "data.source=t.ndjson"]
    result = refused(
        "check", *arguments, mentions=["t.ndjson:1", "'meta'", "data.features.exclude"]
    )
    assert "exclude: [meta]" in result.json["error"]["problems"][0]["fix"]
    for engine in ("resident", "streaming"):
        fixed = [*arguments, "data.features.exclude=['meta']", f"runtime.engine={engine}"]
        assert trainer("check", *fixed).code == 0
