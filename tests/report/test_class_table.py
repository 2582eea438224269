"""The terminal table of row counts by class and split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.report.class_table import split_lines
from trainer.report.text import width

SPLITS = ("train", "validation", "test")


def table(counts: dict[str, tuple[int, ...]], **settings: str) -> list[str]:
    rows = {
        split: sum(by_split[index] for by_split in counts.values())
        for index, split in enumerate(SPLITS)
    }
    classes = {
        split: {name: by_split[index] for name, by_split in counts.items()}
        for index, split in enumerate(SPLITS)
    }
    return split_lines(rows, classes, {}, **settings)


def test_classes_are_rows_and_splits_are_columns() -> None:
    assert table({"no": (60, 20, 20), "yes": (1_940, 0, 10)}) == [
        "class       train  share  validation  test",
        "(all rows)  2,000                 20    30",
        "no             60   3.0%          20    20",
        "yes         1,940  97.0%           0    10",
        "1 class has no validation rows: 'yes'",
    ]


def test_regression_has_row_counts_only() -> None:
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


def test_multilabel_noun() -> None:
    lines = table({"red": (3, 0, 1), "blue": (4, 0, 0)}, noun="label")
    assert lines[0].split() == ["label", "train", "share", "test"]
    assert lines[-1] == "1 label has no test rows: 'blue'"


@pytest.mark.parametrize("count", [41, 100, 1_000])
def test_many_classes_are_truncated(count: int) -> None:
    counts = {f"class {index}": (count - index, 1, 1) for index in range(count)}
    lines = table(counts)
    assert lines.index("…") == 22
    shown = [line for line in lines if line.startswith("class ")][1:]
    assert len(shown) == 30
    assert shown[0].startswith("class 0 ")
    assert shown[-1].startswith(f"class {count - 1} ")
    assert lines[-2] == f"{count:,} classes: the 20 most and 10 least frequent are shown"
    least, highest = 11, count - 20
    item = f"{least}" if least == highest else f"{least} to {highest:,}"
    assert lines[-1] == f"{count - 30:,} more have {item} training rows each; --json lists all"


def test_forty_classes_are_all_shown() -> None:
    lines = table({f"class {index}": (2, 1, 1) for index in range(40)})
    assert len(lines) == 42


def test_absent_classes_are_listed() -> None:
    counts = {f"class {index}": (2, 1, 0 if index < 12 else 1) for index in range(20)}
    assert table(counts)[-1] == (
        "12 classes have no test rows: 'class 0', 'class 1', 'class 2', 'class 3', 'class 4' "
        "and 7 more"
    )


@given(st.lists(st.text(min_size=1), min_size=2, max_size=60, unique=True))
def test_columns_are_aligned_for_any_names(names: list[str]) -> None:
    counts = {name: (index + 1, 1, 1) for index, name in enumerate(names)}
    lines = table(counts)
    rows = [line for line in lines[: min(len(names), 31) + 2] if line != "…"]
    assert len({width(line) for line in rows}) == 1
    assert width(rows[0]) <= 80
    assert all(line.isprintable() for line in lines)
