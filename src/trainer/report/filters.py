"""Filters on runs, `--where`: `val_auc > 0.9`, `optimizer.name in adam,sgd`, `status != dead`.

    NAME == VALUE, also != < <= > >=; NAME ~ PART; NAME in VALUE,VALUE…

Values are parsed as YAML: `1e-3` is a number, "1e-3" in quotes a string. `~` tests whether a string has
a substring, a list an item, a mapping a key. A run without a value for NAME never matches, not even with
`!=`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from trainer.config.nodes import Scalar
from trainer.config.yaml_reader import parse_scalar
from trainer.errors import Problem
from trainer.report.run_values import RUN_PROPERTIES, RunValues
from trainer.report.settings import Value, is_number

Relation = Literal["==", "!=", "<", "<=", ">", ">=", "~", "in"]

NAME = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'=!<>~,])+"""
"""The regular expression of a name; quoted parts can contain any character."""

_CONDITION = re.compile(
    rf"\s*(?P<name>{NAME})(?:\s*(?P<sign>==|!=|<=|>=|<|>|~)|\s+(?P<word>in)(?=\s))\s*(?P<value>\S.*)",
    re.DOTALL,
)
_ITEM = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^,]*?)\s*(?:,|$)""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Operand:
    """The right side of a condition: its text and its value in YAML."""

    text: str
    scalar: Scalar


@dataclass(frozen=True, slots=True)
class RunFilter:
    """One `--where` option; `in` has several operands, the others one."""

    text: str
    name: str
    relation: Relation
    operands: tuple[Operand, ...]


def parse_filter(text: str) -> RunFilter | Problem:
    """Parse the text of one `--where` option."""
    where = f"--where '{text}'"
    match = _CONDITION.fullmatch(text)
    if match is None:
        single = re.fullmatch(rf"\s*({NAME})\s*=\s*([^=\s].*)", text, re.DOTALL)
        fix = f"write '{single[1]} == {single[2]}'" if single else _EXAMPLE
        return Problem(where, _FORM, f"'{text}'" if text.strip() else "nothing", fix)
    relation = _relation(match["sign"] or match["word"])
    value = match["value"].rstrip()
    texts = _items(value) if relation == "in" else [value]
    try:
        operands = tuple(_operand(item) for item in texts)
    except ValueError as error:
        return Problem(where, "a shorter number", f"an integer of {error}")
    return RunFilter(text, match["name"], relation, operands)


_FORM = "NAME OPERATOR VALUE with one of == != < <= > >= ~ in"
_EXAMPLE = "write, for example, 'val_auc > 0.9' or 'optimizer.name in adam,sgd'"


def _relation(text: str) -> Relation:
    match text:
        case "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "in":
            return text
    raise AssertionError(text)


def _items(text: str) -> list[str]:
    """Split `a, "b,c"` into a and "b,c"."""
    return [match[1] for match in _ITEM.finditer(text) if match[0]]


def _operand(text: str) -> Operand:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return Operand(text[1:-1], text[1:-1]) if quoted else Operand(text, parse_scalar(text))


def check_comparable(condition: RunFilter, runs: Sequence[RunValues]) -> Problem | None:
    """Return a problem if an ordering such as `<` cannot hold for any run because of its type."""
    name, (operand, *_) = condition.name, condition.operands
    values = [value for run in runs if (value := run.values.get(name)) is not None]
    if condition.relation not in _SIGNS or not values:
        return None
    if any(_sign(value, operand) is not None for value in values):
        return None
    where = f"--where '{condition.text}'"
    if any(is_number(value) for value in values):
        return Problem(where, f"a number, as {name} is", f"'{operand.text}'")
    expected = f"== != ~ or in, as {name} is neither a number nor a string"
    return Problem(where, expected, f"'{condition.relation}'")


def matches_filter(run: RunValues, condition: RunFilter) -> bool:
    """Return whether a condition holds for a run."""
    name = condition.name
    # Only the properties of a damaged run are reliable.
    if name not in run.values or (run.run.status == "damaged" and name not in RUN_PROPERTIES):
        return False
    value = run.values[name]
    operand = condition.operands[0]
    match condition.relation:
        case "==":
            return _equals(value, operand)
        case "!=":
            return not _equals(value, operand)
        case "in":
            return any(_equals(value, operand) for operand in condition.operands)
        case "~":
            return _contains(value, operand)
        case "<" | "<=" | ">" | ">=":
            return _sign(value, operand) in _SIGNS[condition.relation]
    assert_never(condition.relation)


_SIGNS = {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (1, 0)}


def _equals(value: Value, operand: Operand) -> bool:
    if isinstance(value, str):
        # As text: a name such as 007 is not a number.
        return value == operand.text
    same_kind = isinstance(value, bool) == isinstance(operand.scalar, bool)
    return same_kind and value == operand.scalar


def _contains(value: Value, operand: Operand) -> bool:
    match value:
        case str():
            return operand.text in value
        case list():
            return any(_equals(item, operand) for item in value)
        case dict():
            return operand.text in value
        case _:
            return False


def _sign(value: Value, operand: Operand) -> int | None:
    """Return -1, 0 or 1 if the value is below, equal to or above the operand; None if incomparable."""
    if isinstance(value, str):
        return (value > operand.text) - (value < operand.text)
    right = operand.scalar
    if not (is_number(value) and is_number(right)):
        return None
    if isinstance(right, float) and math.isnan(right):
        return None
    return (value > right) - (value < right)
