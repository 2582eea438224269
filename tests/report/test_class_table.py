"""Rows of splits and classes as lines of a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.report.class_table import split_lines
from trainer.report.text import width

SPLITS = ("train", "validation", "test")


def table(counts: dict[str, tuple[int, ...]], **settings: str) -> list[str]:
    rows = {split: sum(of[place] for of in counts.values()) for place, split in enumerate(SPLITS)}
    classes = {
        split: {name: of[place] for name, of in counts.items()}
        for place, split in enumerate(SPLITS)
    }
    return split_lines(rows, classes, {}, **settings)


def test_classes_go_down_and_splits_across() -> None:
    assert table({"no": (60, 20, 20), "yes": (1_940, 0, 10)}) == [
        "class       train  share  validation  test",
        "(all rows)  2,000                 20    30",
        "no             60   3.0%          20    20",
        "yes         1,940  97.0%           0    10",
        "1 class has no validation rows: 'yes'",
    ]


def test_numbers_have_rows_alone() -> None:
    lines = split_lines(
        {"train": 1_200, "validation": 300, "test": 0},
        {"train": {}, "validation": {}},
        {"without a target": 3, "outlier": 1_001},
    )
    assert lines == [
        "      train  validation",
        "rows  1,200         300",
        "dropped: 3 without a target, 1,001 outlier",
    ]


def test_labels_are_called_labels() -> None:
    lines = table({"red": (3, 0, 1), "blue": (4, 0, 0)}, noun="label")
    assert lines[0].split() == ["label", "train", "share", "test"]
    assert lines[-1] == "1 label has no test rows: 'blue'"


@pytest.mark.parametrize("count", [41, 100, 1_000])
def test_many_classes_are_cut_off_and_counted(count: int) -> None:
    counts = {f"class {place}": (count - place, 1, 1) for place in range(count)}
    lines = table(counts)
    assert lines.index("…") == 22
    shown = [line for line in lines if line.startswith("class ")][1:]
    assert len(shown) == 30
    assert shown[0].startswith("class 0 ")
    assert shown[-1].startswith(f"class {count - 1} ")
    assert lines[-2] == f"{count:,} classes: the 20 most and 10 least frequent are shown"
    least, most = 11, count - 20
    each = f"{least}" if least == most else f"{least} to {most:,}"
    assert lines[-1] == f"{count - 30:,} more have {each} training rows each; --json lists all"


def test_forty_classes_are_all_shown() -> None:
    lines = table({f"class {place}": (2, 1, 1) for place in range(40)})
    assert len(lines) == 42


def test_absent_classes_are_named_once() -> None:
    counts = {f"class {place}": (2, 1, 0 if place < 12 else 1) for place in range(20)}
    assert table(counts)[-1] == (
        "12 classes have no test rows: 'class 0', 'class 1', 'class 2', 'class 3', 'class 4' "
        "and 7 more"
    )


@given(st.lists(st.text(min_size=1), min_size=2, max_size=60, unique=True))
def test_columns_line_up_whatever_the_names(names: list[str]) -> None:
    counts = {name: (place + 1, 1, 1) for place, name in enumerate(names)}
    lines = table(counts)
    rows = [line for line in lines[: min(len(names), 31) + 2] if line != "…"]
    assert len({width(line) for line in rows}) == 1
    assert width(rows[0]) <= 80
    assert all(line.isprintable() for line in lines)
