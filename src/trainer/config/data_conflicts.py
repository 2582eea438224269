"""Conflicts in the `data` section, except those of individual columns."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.data import Csv, Data, NamedSources
from trainer.config.task_rules import TASK_RULES


def data_conflicts(data: Data, *, folded: bool) -> Iterator[Conflict]:
    """Yield conflicts between sources, formats, splits, targets and features.

    Args:
        data: The `data` section.
        folded: Whether a fold is the validation set, rather than a fraction of the rows.
    """
    yield from _source_conflicts(data)
    yield from _split_conflicts(data, folded=folded)
    yield from _target_conflicts(data)


def _source_conflicts(data: Data) -> Iterator[Conflict]:
    if data.format not in ("auto", "csv"):
        for name in type(data.csv).model_fields:
            is_used = data.format == "lines" and name in ("encoding", "names")
            if differs_from_default(data.csv, name) and not is_used:
                yield conflict(
                    f"data.csv.{name}",
                    "csv settings only with data.format: auto or csv",
                    f"data.format: {data.format}",
                    "remove one of the two",
                    "data.format",
                )
    yield from _csv_conflicts(data.csv)


def _csv_conflicts(csv: Csv) -> Iterator[Conflict]:
    characters = {"separator": csv.separator, "quote": csv.quote, "escape": csv.escape}
    for name, character in characters.items():
        if character in ("\n", "\r"):
            found = "a line break"
            yield conflict(f"data.csv.{name}", "a character other than a line break", found, "")
    for name, other in (("quote", "separator"), ("escape", "separator"), ("escape", "quote")):
        if characters[name] == characters[other]:
            fix = ""
            if (name, other) == ("escape", "quote"):
                fix = "remove data.csv.escape; doubled quotes are read without it"
            yield conflict(
                f"data.csv.{name}",
                f"a character other than data.csv.{other}",
                f"'{characters[name]}' for both",
                fix,
                f"data.csv.{other}",
            )
    if csv.comment is not None and csv.comment[0] in characters.values():
        name = next(name for name, character in characters.items() if character == csv.comment[0])
        yield conflict(
            "data.csv.comment",
            f"text that does not start with data.csv.{name}",
            f"'{csv.comment}'",
            f"change data.csv.{name}, or skip the first lines with data.csv.skip",
            f"data.csv.{name}",
        )
    for name in sorted({name for name in csv.names or () if (csv.names or []).count(name) > 1}):
        yield conflict("data.csv.names", "unique names", f"'{name}' twice", "rename one of them")


def _split_conflicts(data: Data, *, folded: bool) -> Iterator[Conflict]:
    split = data.split
    named = isinstance(data.source, NamedSources) and data.source.validation is not None
    has_some = split.validation > 0 or folded or named or split.by == "column"
    if split.train_on_validation and not has_some:
        yield conflict(
            "data.split.train_on_validation",
            "validation rows to train on",
            "data.split.validation: 0",
            "remove train_on_validation: all rows but the test rows are training rows",
            "data.split.validation",
        )
    if split.by in ("group", "time", "column") and split.column is None:
        yield conflict(
            "data.split.by",
            f"data.split.column with by: {split.by}",
            "none",
            "name the column with data.split.column",
            "data.split.column",
        )
    if split.by in ("auto", "random", "stratified") and split.column is not None:
        yield conflict(
            "data.split.column",
            "no column, or by: group, time, column or hash",
            f"by: {split.by}",
            "set data.split.by, or remove data.split.column",
            "data.split.by",
        )
    if isinstance(data.source, NamedSources):
        yield from _named_source_conflicts(data, data.source)
    elif split.by != "column" and not folded and split.test + split.validation >= 1:
        yield conflict(
            "data.split",
            "test and validation fractions that leave training rows",
            f"{split.test:g} + {split.validation:g}",
            "lower one of them",
            "data.split.test",
            "data.split.validation",
        )


def _named_source_conflicts(data: Data, source: NamedSources) -> Iterator[Conflict]:
    if data.split.by == "column":
        fix = "name one source, or remove data.split.by and data.split.column"
        expected = "a method other than column, as data.source lists the files of each split"
        yield conflict("data.split.by", expected, "by: column", fix, "data.source")
    for name, files in (("test", source.test), ("validation", source.validation)):
        fraction: float = getattr(data.split, name)
        fraction_applies = name == "validation" and files is None
        if differs_from_default(data.split, name) and fraction > 0 and not fraction_applies:
            yield conflict(
                f"data.split.{name}",
                f"no fraction of {name} rows, as data.source lists the files of each split",
                f"{fraction:g}",
                f"remove it, or list the {name} files in data.source.{name}",
                "data.source",
            )


def _target_conflicts(data: Data) -> Iterator[Conflict]:
    targets = [data.target] if isinstance(data.target, str) else data.target
    for name in sorted({name for name in targets if targets.count(name) > 1}):
        yield conflict("data.target", "unique columns", f"'{name}' twice", "remove one")
    for name in targets:
        if name in (data.features.include or []):
            yield conflict(
                "data.features.include",
                "features without the target",
                f"'{name}'",
                "remove it: it is the target",
                "data.target",
            )
        if name == data.weight:
            fix = "name another column"
            yield conflict("data.weight", "a column other than the target", f"'{name}'", fix)
        if name == data.split.column:
            fix = "use by: stratified, which needs no column"
            expected = "a column other than the target"
            yield conflict("data.split.column", expected, f"'{name}'", fix, "data.target")
    excluded = set(data.features.exclude)
    for name in data.features.include or []:
        if name in excluded:
            yield conflict(
                "data.features.exclude",
                "columns that are not in data.features.include",
                f"'{name}' in both",
                "remove it from one of the two",
                "data.features.include",
            )
        if name == data.weight:
            expected = "features without the weight column"
            fix = "remove it from one of the two"
            yield conflict("data.features.include", expected, f"'{name}'", fix, "data.weight")
    yield from _several_target_conflicts(data, targets)


def _several_target_conflicts(data: Data, targets: list[str]) -> Iterator[Conflict]:
    rules = None if data.task == "auto" else TASK_RULES[data.task]
    if len(targets) > 1 and rules is not None and rules.is_exclusive:
        yield conflict(
            "data.task",
            "multilabel or regression for several target columns",
            data.task,
            "name one column in data.target, or change the task",
            "data.target",
        )
    if data.target_separator is not None and len(targets) > 1:
        yield conflict(
            "data.target_separator",
            "one target column with several labels in a cell",
            f"{len(targets)} columns",
            "name one column in data.target, or remove target_separator",
            "data.target",
        )
    if data.target_separator is not None and rules is not None and not rules.has_several_labels:
        yield conflict(
            "data.target_separator",
            "task: multilabel or auto with target_separator",
            f"task: {data.task}",
            "remove one of the two",
            "data.task",
        )
    if len(targets) > 1 and data.positive is not None:
        found = f"{len(targets)} target columns"
        expected = "a positive class only with one target column"
        yield conflict("data.positive", expected, found, "remove it", "data.target")
