"""Values as messages show them, and fixes for invalid values: numbers written as text, other
spellings of true and false, misspelled names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import assert_never

from trainer.config.nodes import Node
from trainer.config.specs import ScalarSpec
from trainer.config.suggestions import suggest_value
from trainer.config.yaml_reader import parse_scalar


def format_value(value: object, text: str = "") -> str:
    """Return a value as `found` shows it: short, text in quotes, numbers as they were written."""
    match value:
        case None:
            return "nothing"
        case bool():
            return text or ("true" if value else "false")
        case str():
            return f"'{truncate(value)}'"
        case int() | float():
            return truncate(text or repr(value))
        case dict():
            return f"a mapping with {truncate(', '.join(map(str, value)))}" if value else "{}"
        case list() | tuple():
            return "a list" if value else "an empty list"
    return f"a {type(value).__name__}"


def truncate(text: str, length: int = 60) -> str:
    line = text.replace("\n", "\\n")
    return line if len(line) <= length else f"{line[: length - 1]}…"


def did_you_mean_text(name: str | None, otherwise: str = "") -> str:
    return otherwise if name is None else f"did you mean '{name}'?"


def scalar_fix(leaf: ScalarSpec, node: Node) -> str:
    value = node.content
    match leaf.kind:
        case "text":
            if not isinstance(value, str) and leaf.accepts(node.text) and node.text:
                return f'put it in quotes: "{node.text}"'
            if node.text and leaf.accepts(f"{node.text} epochs"):
                return f"write '{node.text} epochs'"
            if isinstance(value, str):
                for other in (value.replace("-", "_"), re.sub(r"[^A-Za-z0-9._-]+", "-", value)):
                    if other != value and leaf.accepts(other):
                        return f"write {other}"
        case "boolean":
            if isinstance(value, str) and value.lower() in {"yes", "on", "y", "true"}:
                return "write true"
            if isinstance(value, str) and value.lower() in {"no", "off", "n", "false"}:
                return "write false"
            if value in (0, 1) and not isinstance(value, bool):
                return f"write {'true' if value else 'false'}"
        case "integer" | "number":
            better = _meant_number(value, leaf)
            return f"write {better}" if better else ""
        case _:
            assert_never(leaf.kind)
    return ""


def _meant_number(value: object, leaf: ScalarSpec) -> str:
    """Return the number that was meant by text, an exponent or separators; empty if none fits."""
    candidate: object = value
    if isinstance(value, str):
        text = value.strip().replace("_", "")
        if text.endswith("%") and isinstance(parse_scalar(text[:-1]), int | float):
            candidate = float(text[:-1]) / 100
        elif re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+", text):
            candidate = int(text.replace(",", ""))
        elif re.fullmatch(r"[-+]?\d+,\d+", text):
            candidate = float(text.replace(",", "."))
        else:
            candidate = parse_scalar(text) if len(text) < 50 else text
    if isinstance(candidate, bool) or not isinstance(candidate, int | float):
        return ""
    if isinstance(candidate, float) and leaf.kind == "integer":
        if not math.isfinite(candidate) or not candidate.is_integer():
            return ""
        candidate = int(candidate)
    if not leaf.accepts(candidate) or candidate is value:
        return ""
    return f"{candidate:g}" if isinstance(candidate, float) else str(candidate)


def choice_fix(values: Sequence[str], node: Node) -> str:
    if isinstance(node.content, bool | None) and node.text in values:
        return f'put it in quotes: "{node.text}"'
    if node.content is None and "none" in values:
        return "write none"
    if isinstance(node.content, str):
        return did_you_mean_text(suggest_value(node.content, values))
    if isinstance(node.content, bool) and not node.content and "none" in values:
        return "did you mean 'none'?"
    return ""
