"""A terminal table of row counts: classes as rows, splits as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from trainer.errors import pluralize
from trainer.report.text import Table, cell, plain_lines, short_name

_MAX_CLASSES = 40
"""With more classes than this, only the most and the least frequent ones are shown."""
_MOST_FREQUENT, _LEAST_FREQUENT = 20, 10
_MAX_NAME_LENGTH = 40
_NAMED = 5


def split_lines(
    rows: Mapping[str, int],
    classes: Mapping[str, Mapping[str, int]],
    dropped: Mapping[str, int],
    *,
    noun: str = "class",
) -> list[str]:
    """Format the row counts of each split as lines of text.

    Args:
        rows: Split → rows; empty splits are skipped.
        classes: Split → class → rows, the same classes for each split; empty for regression.
        dropped: Reason → number of dropped rows.
        noun: "class", or "label" for a multilabel target.
    """
    return list(
        _lines({name: count for name, count in rows.items() if count}, classes, dropped, noun)
    )


def _lines(
    rows: Mapping[str, int],
    classes: Mapping[str, Mapping[str, int]],
    dropped: Mapping[str, int],
    noun: str,
) -> Iterator[str]:
    splits = list(rows)
    counts = {
        name: [classes[split].get(name, 0) for split in splits] for name in classes.get("train", {})
    }
    totals = [f"{rows[split]:,}" for split in splits]
    if not counts:
        headers = ("", *splits)
        yield from plain_lines(Table("", headers, (("rows", *totals),), _right(headers)))
    else:
        shown, hidden = _select(counts)
        body = [_row(name, counts[name], rows["train"]) for name in shown]
        if hidden:
            body.insert(_MOST_FREQUENT, ("…", *("" for _ in range(len(splits) + 1))))
        headers = (noun, "train", "share", *splits[1:])
        cells = (("(all rows)", totals[0], "", *totals[1:]), *body)
        yield from plain_lines(Table("", headers, cells, _right(headers)))
        if hidden:
            yield from _hidden_lines(counts, hidden, noun)
        yield from _absent_lines(counts, splits, noun)
    if dropped:
        reasons = ", ".join(f"{count:,} {cell(reason)}" for reason, count in dropped.items())
        yield f"dropped: {reasons}"


def _select(counts: Mapping[str, Sequence[int]]) -> tuple[list[str], list[str]]:
    """Return the classes to show, in order, and the others."""
    names = list(counts)
    if len(names) <= _MAX_CLASSES:
        return names, []
    by_count = sorted(names, key=lambda name: -counts[name][0])
    shown = [*by_count[:_MOST_FREQUENT], *by_count[-_LEAST_FREQUENT:]]
    return shown, by_count[_MOST_FREQUENT:-_LEAST_FREQUENT]


def _row(name: str, counts: Sequence[int], training_rows: int) -> tuple[str, ...]:
    share = 100 * counts[0] / training_rows if training_rows else 0.0
    percent = "<0.1%" if 0 < share < 0.05 else f"{share:.1f}%"
    label = short_name(name, _MAX_NAME_LENGTH)
    first, *others = (f"{count:,}" for count in counts)
    return (label, first, percent, *others)


def _right(headers: Sequence[str]) -> frozenset[int]:
    return frozenset(range(1, len(headers)))


def _hidden_lines(
    counts: Mapping[str, Sequence[int]], hidden: Sequence[str], noun: str
) -> Iterator[str]:
    most, least = counts[hidden[0]][0], counts[hidden[-1]][0]
    rows = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    yield (
        f"{pluralize(len(counts), noun)}: the {_MOST_FREQUENT} most and {_LEAST_FREQUENT} least "
        "frequent are shown"
    )
    yield f"{len(hidden):,} more have {rows} training rows each; --json lists all"


def _absent_lines(
    counts: Mapping[str, Sequence[int]], splits: Sequence[str], noun: str
) -> Iterator[str]:
    """Yield a line for each split without rows of some class."""
    for index, split in enumerate(splits):
        names = [name for name, by_split in counts.items() if by_split[index] == 0]
        if not names:
            continue
        listed = ", ".join(f"'{short_name(name, _MAX_NAME_LENGTH)}'" for name in names[:_NAMED])
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        verb = "has" if len(names) == 1 else "have"
        yield f"{pluralize(len(names), noun)} {verb} no {split} rows: {listed}{more}"
