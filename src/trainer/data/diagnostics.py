"""Diagnose assumptions about categorical columns and the target, and name the settings to change them.

Warnings are about assumptions that are likely wrong, notes about those that are likely right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from trainer.config.data import Data
from trainer.config.nodes import column_key
from trainer.config.task_rules import TASK_RULES
from trainer.config.yaml_writer import flow_text
from trainer.data.any_column import AnyColumn
from trainer.data.categorical import CategoricalColumn
from trainer.data.classes import has_one_positive_word
from trainer.data.column_settings import explicit_levels
from trainer.data.label_lists import likely_separator
from trainer.data.message_lists import MAX_LINES, truncated
from trainer.data.missing_values import count_null_values, null_values_text
from trainer.data.ordinal_scales import ordered_levels
from trainer.data.spellings import case_variants
from trainer.data.tables import Table
from trainer.data.targets import FittedTarget
from trainer.data.tasks import InferredTask
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import TokenColumn
from trainer.errors import Problem

_LEVELS = 12


@dataclass
class Diagnostics:
    """Messages for the user.

    Attributes:
        warnings: Assumptions that are likely wrong.
        notes: Other assumptions.
        hints: Assumptions that are rarely wrong, only shown by `check`.
    """

    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    def __add__(self, other: Diagnostics) -> Diagnostics:
        """Return the messages of both."""
        return Diagnostics(
            self.warnings + other.warnings, self.notes + other.notes, self.hints + other.hints
        )


def column_diagnostics(columns: Sequence[AnyColumn], data: Data, table: Table) -> Diagnostics:
    """Return diagnostics about the order of ordinal columns, categories that differ only in case, and
    the coverage of texts.
    """
    diagnostics = Diagnostics()
    diagnostics.warnings += [
        column.warning for column in columns if isinstance(column, TokenColumn) and column.warning
    ]
    diagnostics.hints += [
        f"'{column.name}': {column.coverage}"
        for column in columns
        if isinstance(column, TextColumn | TokenColumn)
    ]
    categorical = [column for column in columns if isinstance(column, CategoricalColumn)]
    case = [_case_line(column) for column in categorical if not column.ignore_case]
    orders = [
        _order_line(column)
        for column in categorical
        if column.encode == "ordinal" and explicit_levels(data, column.name) is None
    ]
    diagnostics.warnings += truncated(
        [line for line in case if line], "columns with such categories"
    )
    diagnostics.warnings += truncated(
        [line for line, by in orders if by == "alphabet"], "ordinal columns in alphabetical order"
    )
    diagnostics.notes += truncated(
        [line for line, by in orders if by == "scale"], "ordinal columns in the order of a scale"
    )
    with_missing_level = [
        column for column in categorical if column.encode == "ordinal" and column.has_missing_level
    ]
    shown = [column.name for column in with_missing_level[:MAX_LINES]]
    for name, counts in count_null_values(table, shown).items():
        line = f"missing values of the ordinal column '{name}' rank above its highest category"
        key = column_key(name)
        if counts:
            diagnostics.warnings.append(
                f"{line} ({null_values_text(counts)}); if such a value is a category, set "
                f"data.csv.null_values to a list without it, and {key}.levels"
            )
        else:
            diagnostics.notes.append(
                f"{line}; {key}.impute: most_frequent fills them with a category"
            )
    return diagnostics


def _case_line(column: CategoricalColumn) -> str:
    groups = case_variants((*column.levels, *column.merged))
    if not groups:
        return ""
    return (
        f"categories of '{column.name}' differ only in case: {_grouped(groups)}; "
        f"{column_key(column.name)}.ignore_case: true merges them"
    )


def _order_line(column: CategoricalColumn) -> tuple[str, str]:
    _, basis = ordered_levels(column.levels)
    shown = [*column.levels[:_LEVELS], *(["…"] if len(column.levels) > _LEVELS else [])]
    order = " < ".join(shown)
    key = f"{column_key(column.name)}.levels"
    if basis == "alphabet":
        listed = flow_text(list(column.levels)) if len(column.levels) <= _LEVELS else "[…]"
        return (
            f"the order of the ordinal column '{column.name}' is alphabetical: {order}; "
            f"set {key}: {listed}, from lowest to highest",
            basis,
        )
    return f"the order of the ordinal column '{column.name}' is {order}; {key} changes it", basis


def target_diagnostics(
    target: FittedTarget, inferred: InferredTask, values: pl.Series, data: Data
) -> Diagnostics:
    """Return diagnostics about the target's task, positive class, case and lists.

    Args:
        target: The fitted target.
        inferred: Its task.
        values: The first target column of the training rows.
        data: The `data` section.
    """
    diagnostics = Diagnostics()
    name = target.columns[0]
    diagnostics.warnings += _list_lines(target, values, data)
    if target.has_label_lists and target.separator is None and data.task == "auto":
        diagnostics.notes.append(
            f"multilabel, as {target.reason}; data.task: multilabel confirms it"
        )
    if target.text is not None:
        column = target.text.column
        diagnostics.hints.append(f"'{column.name}': {column.coverage}")
        diagnostics.warnings += [column.warning] if column.warning else []
    groups = [] if target.ignore_case else case_variants(target.classes)
    if groups:
        diagnostics.warnings.append(
            f"classes of '{name}' differ only in case: {_grouped(groups)}; "
            f"{column_key(name)}.ignore_case: true merges them"
        )
    if inferred.alternative is not None:
        diagnostics.notes.append(
            f"{target.task}, as {target.reason}; otherwise set data.task: {inferred.alternative}"
        )
    rules = TASK_RULES[target.task]
    if (
        rules.has_positive_class
        and data.positive is None
        and not has_one_positive_word(target.classes)
    ):
        no, yes = target.classes
        diagnostics.notes.append(
            f"'{yes}' is the positive class of '{name}', as it is the rarer class; "
            f"otherwise set data.positive: {flow_text(no)}"
        )
    return diagnostics


def _list_lines(target: FittedTarget, values: pl.Series, data: Data) -> list[str]:
    """Return warnings about cells that look like lists, and a separator that no cell contains."""
    name, separator = target.columns[0], target.separator
    if TASK_RULES[target.task].predicts_most_likely and data.task == "auto":
        likely = likely_separator(values)
        if likely is None:
            return []
        return [
            f"cells of '{name}' look like lists of labels separated by '{likely}', and each list is a "
            f"class; set data.target_separator: {flow_text(likely)} to make each label a class"
        ]
    if separator is None or values.dtype != pl.String or _contains(values, separator):
        return []
    likely = likely_separator(values)
    return [
        f"no cell of '{name}' contains data.target_separator {flow_text(separator)}, so no row has "
        f"several labels; {'remove it' if likely is None else f'set it to {flow_text(likely)}'}"
    ]


def _contains(values: pl.Series, separator: str) -> bool:
    return bool(values.str.contains(separator, literal=True).any())


def level_problems(table: Table, names: Iterable[str], data: Data) -> list[Problem]:
    """Return problems with explicit categories that no row can have, as CSV reads them as missing."""
    if "csv" not in table.formats:
        return []
    problems = []
    for name in names:
        read_as_missing = [
            level for level in explicit_levels(data, name) or () if level in data.csv.null_values
        ]
        if read_as_missing:
            kept = [value for value in data.csv.null_values if value not in read_as_missing]
            problems.append(
                Problem(
                    "",
                    "categories that are not read as missing values",
                    f"'{read_as_missing[0]}', which is in data.csv.null_values",
                    f"remove it, or set data.csv.null_values: {flow_text(kept)}",
                    f"{column_key(name)}.levels",
                )
            )
    return problems


def _grouped(groups: Sequence[Sequence[str]]) -> str:
    shown = ["/".join(f"'{label}'" for label in group[:5]) for group in groups[:3]]
    more = f" and {len(groups) - 3} more" if len(groups) > 3 else ""
    return ", ".join(shown) + more
