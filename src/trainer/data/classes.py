"""Classes of a single target column: their spellings, label lookup and the positive class."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from trainer.config.data import Scalar
from trainer.config.task_rules import TASK_RULES
from trainer.data.message_lists import quoted
from trainer.data.spellings import (
    canonical_level,
    casefold_level,
    merge_case_variants,
    natural_sort,
    normalize_text,
)
from trainer.data.values import to_text
from trainer.errors import DataError, Problem, did_you_mean
from trainer.task_names import TaskName

_MAX_LISTED = 8
POSITIVE_WORDS = ("yes", "true", "1", "positive", "+")


def class_indices(
    classes: Sequence[str], labels: Sequence[str], *, ignore_case: bool = False
) -> dict[str, int | None]:
    """Return the index of the class that each label refers to, or None.

    Labels match by text, otherwise as integers. Without `ignore_case`, true and false also match
    case-insensitively if exactly one class matches.
    """
    if ignore_case:
        by_key = {casefold_level(name): index for index, name in enumerate(classes)}
        return {label: by_key.get(casefold_level(label)) for label in labels}
    exact = {name: index for index, name in enumerate(classes)}
    by_level = {canonical_level(name): index for index, name in enumerate(classes)}
    indices: dict[str, int | None] = {}
    for label in labels:
        index = exact.get(label, by_level.get(canonical_level(label)))
        if index is None and label.lower() in ("true", "false"):
            same = [i for i, name in enumerate(classes) if name.lower() == label.lower()]
            index = same[0] if len(same) == 1 else None
        indices[label] = index
    return indices


def count_classes(series: pl.Series, *, ignore_case: bool = False) -> dict[str, int]:
    """Count the rows of each class.

    Spellings with one canonical form ("1", "1.0") are a single class, named by the most frequent one;
    with `ignore_case`, so are those that differ only in case.
    """
    cells = to_text(series) if series.dtype.is_float() else series
    counted = cells.drop_nulls().alias("label").value_counts(sort=False)
    spellings: dict[str, list[tuple[int, str]]] = {}
    for label, count in zip(to_text(counted["label"]), counted["count"], strict=True):
        spellings.setdefault(canonical_level(label), []).append((count, label))
    classes = {
        normalize_text(min(group, key=lambda item: (-item[0], item[1]))[1]): sum(
            count for count, _ in group
        )
        for group in spellings.values()
    }
    return merge_case_variants(classes.items()) if ignore_case else classes


def check_classes(task: TaskName, column: str, counts: dict[str, int]) -> None:
    """Check that there are two classes for `binary`, and at least two for `multiclass`.

    Raises:
        DataError: If there are not.
    """
    if len(counts) == 1:
        only = next(iter(counts))
        raise DataError(
            Problem(
                "",
                f"at least two classes in '{column}' among the training rows",
                f"only '{only}'",
                "check data.target; a time or column split can also leave only one class",
                "data.target",
            )
        )
    if TASK_RULES[task].has_positive_class and len(counts) > 2:
        found = f"{len(counts)}: {classes_text(natural_sort(list(counts)))}"
        raise DataError(
            Problem("", f"two classes in '{column}' for task: {task}", found,
                    "set data.task to multiclass, or merge classes", "data.task")
        )  # fmt: skip


def positive_class(
    classes: tuple[str, ...], counts: dict[str, int], configured: Scalar | None, ignore_case: bool
) -> str:
    """Return the positive class: the configured class, the one meaning yes, or the rarer class.

    Raises:
        DataError: If the configured class does not exist.
    """
    if configured is not None:
        label = str(configured).lower() if isinstance(configured, bool) else str(configured)
        index = class_indices(classes, [label], ignore_case=ignore_case)[label]
        if index is None:
            raise DataError(
                Problem(
                    "",
                    f"a class of the target: {classes_text(classes)}",
                    f"'{label}'",
                    did_you_mean(label, classes, "choose one of these classes"),
                    "data.positive",
                )
            )
        return classes[index]
    if has_one_positive_word(classes):
        return next(name for name in classes if canonical_level(name).lower() in POSITIVE_WORDS)
    return min(reversed(classes), key=lambda name: counts[name])


def has_one_positive_word(classes: Sequence[str]) -> bool:
    """Return whether exactly one of the classes is a word for yes."""
    return sum(canonical_level(name).lower() in POSITIVE_WORDS for name in classes) == 1


def classes_text(names: Sequence[str]) -> str:
    """Return the first few class names in quotes, for a message."""
    return quoted(names, _MAX_LISTED)
