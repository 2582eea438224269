"""Classes of one target column: their spellings, which label names which, and the positive one."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from trainer.config.data import Scalar, TaskName
from trainer.data.message_lists import quoted
from trainer.data.values import (
    canonical_level,
    casefold_level,
    merge_case_variants,
    natural_sort,
    normalize_text,
    text,
)
from trainer.errors import DataError, Problem, did_you_mean

_LISTED = 8
POSITIVE_WORDS = ("yes", "true", "1", "positive", "+")


def class_indices(
    classes: Sequence[str], labels: Sequence[str], *, ignore_case: bool = False
) -> dict[str, int | None]:
    """The number of the class each label names: by its text, else by its whole number, else (true and
    false only, unless `ignore_case`) by its word in another case when only one class has it.
    """
    if ignore_case:
        places = {casefold_level(name): index for index, name in enumerate(classes)}
        return {label: places.get(casefold_level(label)) for label in labels}
    exact = {name: index for index, name in enumerate(classes)}
    whole = {canonical_level(name): index for index, name in enumerate(classes)}
    found: dict[str, int | None] = {}
    for label in labels:
        index = exact.get(label, whole.get(canonical_level(label)))
        if index is None and label.lower() in ("true", "false"):
            same = [at for at, name in enumerate(classes) if name.lower() == label.lower()]
            index = same[0] if len(same) == 1 else None
        found[label] = index
    return found


def count_classes(series: pl.Series, *, ignore_case: bool = False) -> dict[str, int]:
    """Rows of each class. Spellings that `canonical_level` makes equal ("1", "1.0") are one
    class, under its most frequent spelling; with `ignore_case` those that differ in case only
    too.
    """
    cells = text(series) if series.dtype.is_float() else series
    counted = cells.drop_nulls().alias("label").value_counts(sort=False)
    spellings: dict[str, list[tuple[int, str]]] = {}
    for label, count in zip(text(counted["label"]), counted["count"], strict=True):
        spellings.setdefault(canonical_level(label), []).append((count, label))
    classes = {
        normalize_text(min(found, key=lambda one: (-one[0], one[1]))[1]): sum(
            count for count, _ in found
        )
        for found in spellings.values()
    }
    return merge_case_variants(classes.items()) if ignore_case else classes


def check_classes(task: TaskName, column: str, counts: dict[str, int]) -> None:
    if len(counts) == 1:
        only = next(iter(counts))
        raise DataError(
            Problem(
                "",
                f"at least two classes in '{column}' among the training rows",
                f"'{only}' only",
                "is this the right target? A time or column split can also leave one class only",
                "data.target",
            )
        )
    if task == "binary" and len(counts) > 2:
        found = f"{len(counts)}: {classes_text(natural_sort(list(counts)))}"
        raise DataError(
            Problem("", f"two classes in '{column}' for task: binary", found,
                    "set data.task to multiclass, or merge classes", "data.task")
        )  # fmt: skip


def positive_class(
    classes: tuple[str, ...], counts: dict[str, int], stated: Scalar | None, ignore_case: bool
) -> str:
    if stated is not None:
        words = str(stated).lower() if isinstance(stated, bool) else str(stated)
        index = class_indices(classes, [words], ignore_case=ignore_case)[words]
        if index is None:
            raise DataError(
                Problem(
                    "",
                    f"a class of the target: {classes_text(classes)}",
                    f"'{words}'",
                    did_you_mean(words, classes),
                    "data.positive",
                )
            )
        return classes[index]
    if is_positive_word(classes):
        return next(name for name in classes if canonical_level(name).lower() in POSITIVE_WORDS)
    return min(reversed(classes), key=lambda name: counts[name])


def is_positive_word(classes: Sequence[str]) -> bool:
    """Whether one of the classes, and only one, is a word for yes."""
    return sum(canonical_level(name).lower() in POSITIVE_WORDS for name in classes) == 1


def classes_text(names: Sequence[str]) -> str:
    return quoted(names, _LISTED)
