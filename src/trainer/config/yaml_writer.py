"""Write plain values as YAML that is equivalent in YAML 1.1 and 1.2 and easy to read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from trainer.config.yaml_reader import parse_scalar

_PLAIN = re.compile(r"(\.{0,2}/)?[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*|\d+ [a-z]+")
_RESERVED_IN_YAML_1_1 = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_ESCAPED = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_WIDTH = 100
_MAX_KEY_LENGTH = 1000  # YAML does not allow `key: value` with keys of more than 1,024 characters


def scalar_text(value: object) -> str:
    """Return a scalar, quoted if it would otherwise be read as something else."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            text = repr(value)
            return re.sub(r"^(-?\d+)e", r"\1.0e", text)  # YAML 1.1 requires the decimal point
        case str():
            return value if _is_plain(value) else _quoted(value)
        case _:
            raise TypeError(f"a config cannot contain {type(value).__name__}")


def _is_plain(text: str) -> bool:
    return (
        _PLAIN.fullmatch(text) is not None
        and text.lower() not in _RESERVED_IN_YAML_1_1
        and isinstance(parse_scalar(text), str)
    )


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def flow_text(value: object) -> str:
    """Return a value on one line."""
    match value:
        case Mapping():
            items = [f"{scalar_text(key)}: {flow_text(item)}" for key, item in value.items()]
            return "{" + ", ".join(items) + "}"
        case list() | tuple():
            return "[" + ", ".join(flow_text(item) for item in value) + "]"
        case _:
            return scalar_text(value)


def block_text(value: Mapping[str, object], indent: str = "") -> str:
    """Return a mapping as lines; lists of scalars are on one line if they fit."""
    lines: list[str] = []
    for key, item in value.items():
        name = scalar_text(key)
        head = (
            f"{indent}{name}:" if len(name) <= _MAX_KEY_LENGTH else f"{indent}? {name}\n{indent}:"
        )
        if isinstance(item, Mapping) and item:
            lines.append(f"{head}\n{block_text(item, indent + '  ')}")
        elif isinstance(item, list | tuple) and not _fits(item, len(head)):
            lines.append(f"{head}\n{_list_text(item, indent + '  ')}")
        else:
            lines.append(f"{head} {flow_text(item)}\n")
    return "".join(lines)


def _fits(items: Sequence[object], used: int) -> bool:
    if any(isinstance(item, Mapping | list | tuple) for item in items):
        return False
    return used + 1 + len(flow_text(items)) <= _WIDTH


def _list_text(items: Sequence[object], indent: str) -> str:
    lines: list[str] = []
    for item in items:
        if isinstance(item, Mapping) and item:
            block = block_text(item, indent + "  ")
            lines.append(f"{indent}- {block[len(indent) + 2 :]}")
        else:
            lines.append(f"{indent}- {flow_text(item)}\n")
    return "".join(lines)
