"""Applying the settings that a warning of `check` suggests removes it and causes no other warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.advice import alternatives

ROWS = range(60)


def table(header: str, row: Callable[[int], str]) -> str:
    return "\n".join([header, *map(row, ROWS)]) + "\n"


# name: (table, settings, text of the warning)
CLASSES = ["no", "yes"]
TABLES: dict[str, tuple[str, list[str], str]] = {
    "thousands": (
        table("a,x,y", lambda n: f'"{1 + n % 5},{100 + n % 5}",{n % 7},{CLASSES[n % 2]}'),
        [],
        "read as numbers",
    ),
    "percent": (
        table("a,x,y", lambda n: f"{n % 5}.5 %,{n % 7},{CLASSES[n % 2]}"),
        [],
        "read as numbers",
    ),
    "name with a dot": (
        table("a.b,x,y", lambda n: f"{n % 5}.5 %,{n % 7},{CLASSES[n % 2]}"),
        [],
        "read as numbers",
    ),
    "money as target": (
        table("a,x,y", lambda n: f'{n},{n % 7},"${10 + n},{100 + n * 13 % 900}"'),
        [],
        "read as numbers",
    ),
    "day first": (
        table("a,x,y", lambda n: f"{10 + n % 6}/0{1 + n % 3}/2023,{n % 7},{CLASSES[n % 2]}"),
        [],
        "dates",
    ),
    "day or month first": (
        table("a,x,y", lambda n: f"0{1 + n % 3}/0{1 + n % 4}/2023,{n % 7},{CLASSES[n % 2]}"),
        [],
        "dates",
    ),
    "no header": (
        table("5.5,3.5,b", lambda n: f"{n % 9}.5,{n % 7}.25,{'ab'[n % 2]}"),
        ["data.target=b"],
        "header",
    ),
    "labels in two cases": (
        table("a,x,y", lambda n: f"{n * 7 % 11},{n % 7},{['yes', 'Yes', 'no', 'No'][n % 4]}"),
        [],
        "case",
    ),
    "levels in two cases": (
        table("a,x,y", lambda n: f"{['red', 'Red', 'blue'][n % 3]},{n % 7},{CLASSES[n // 7 % 2]}"),
        [],
        "case",
    ),
    "skewed target": (
        table("a,x,y", lambda n: f"{n * 7 % 11},{n % 7},{10 ** (n % 6)}.5"),
        [],
        "orders of magnitude",
    ),
    "ordered words": (
        table(
            "a,x,y",
            lambda n: f"{['poor', 'odd', 'great', 'fine'][n % 4]},{n % 7},{CLASSES[n // 7 % 2]}",
        ),
        ["data.categorical.encode=ordinal"],
        "order",
    ),
    "lists of labels": (
        table(
            "a,x,y",
            lambda n: f"{n % 5},{n % 7},{['red|blue', 'red', 'blue|green', 'green'][n % 4]}",
        ),
        [],
        "list",
    ),
    "row names": (
        table("a,x,y", lambda n: f"name {n:04},{n % 7},{CLASSES[n // 7 % 2]}"),
        [],
        "distinct values",
    ),
}


def warning_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("warning: ", "note: "))]


@pytest.mark.parametrize("name", TABLES)
def test_advice(name: str, folder: Path, trainer: Callable) -> None:
    text, settings, mentions = TABLES[name]
    (folder / "t.csv").write_text(text)
    (folder / "config.yaml").write_text("data: {source: t.csv, target: y}\n")
    checked = trainer("check", "config.yaml", "fit.batch_size=8", *settings)
    assert checked.code == 0, checked.err
    before = warning_lines(checked.err)
    (warning,) = [line for line in before if mentions in line]
    advised = alternatives({"where": "", "fix": warning})
    assert advised, warning
    for overrides in advised:
        # Without a header the columns are named column_1, column_2, ...
        renamed = ["data.target=column_3"] if "header" in overrides[0] else []
        arguments = ("check", "config.yaml", "fit.batch_size=8", *settings, *overrides, *renamed)
        result = trainer(*arguments)
        assert result.code == 0, (overrides, result.err)
        after = warning_lines(result.err)
        assert not [line for line in after if mentions in line], (overrides, after)
        assert len(after) < len(before), (overrides, after)
