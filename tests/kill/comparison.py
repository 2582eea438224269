"""Comparison of run directories by their bytes, with readable differences."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

IGNORED = ("manifest.json", "timing.jsonl", "report.html", "lock")
"""Files with times and process ids."""


def comparable_files(run: Path) -> dict[str, bytes]:
    """Return path in the run → content for each file that must be the same."""
    names = [str(path.relative_to(run)) for path in sorted(run.rglob("*")) if path.is_file()]
    return {
        name: (run / name).read_bytes()
        for name in names
        # Earlier checkpoints were written at other times.
        if name not in IGNORED and not name.startswith("checkpoints/last-")
    }


def differences(run: Path, reference: Path) -> list[str]:
    """Return each file that differs and how; empty for the same run."""
    actual, expected = comparable_files(run), comparable_files(reference)
    result = [f"{name}: missing" for name in expected if name not in actual]
    result += [f"{name}: unexpected" for name in actual if name not in expected]
    return result + [
        f"{name}: {_difference(name, actual[name], expected[name])}"
        for name in expected
        if name in actual and actual[name] != expected[name]
    ]


def _difference(name: str, actual: bytes, expected: bytes) -> str:
    try:
        if name.endswith(".npz"):
            return _archive_difference(actual, expected, _array_difference)
        if name.endswith(".keras"):
            return _archive_difference(actual, expected, _byte_difference)
        if name.endswith(".jsonl"):
            return _line_difference(actual, expected)
        if name.endswith(".json"):
            return (
                _value_difference(json.loads(actual), json.loads(expected)) or "only in formatting"
            )
    except ValueError as damage:
        return f"damaged: {damage}"
    return _byte_difference(actual, expected)


def _archive_difference(actual: bytes, expected: bytes, compare: Any) -> str:
    with zipfile.ZipFile(BytesIO(actual)) as first, zipfile.ZipFile(BytesIO(expected)) as second:
        ours = {name: first.read(name) for name in first.namelist()}
        theirs = {name: second.read(name) for name in second.namelist()}
    parts = [f"{name} is missing" for name in theirs if name not in ours]
    parts += [f"{name} is unexpected" for name in ours if name not in theirs]
    parts += [
        f"{name}: {compare(ours[name], content)}"
        for name, content in theirs.items()
        if name in ours and ours[name] != content
    ]
    return "; ".join(parts) or "only in formatting"


def _array_difference(actual: bytes, expected: bytes) -> str:
    ours, theirs = (np.load(BytesIO(content), allow_pickle=False) for content in (actual, expected))
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return f"{ours.dtype}{ours.shape}, not {theirs.dtype}{theirs.shape}"
    if ours.ndim == 0 or ours.dtype.kind not in "biuf":
        return f"{ours}, not {theirs}"
    count = int((ours != theirs).sum())
    most = np.nanmax(np.abs(ours.astype(float) - theirs.astype(float)))
    return f"{count} of {ours.size} values, by at most {most:.3g}"


def _line_difference(actual: bytes, expected: bytes) -> str:
    ours, theirs = actual.splitlines(), expected.splitlines()
    for number, (line, other) in enumerate(zip(ours, theirs, strict=False), start=1):
        if line != other:
            return f"line {number}: {_value_difference(json.loads(line), json.loads(other))}"
    return f"{len(ours)} lines, not {len(theirs)}"


def _value_difference(actual: Any, expected: Any, key: str = "") -> str:
    if isinstance(actual, dict) and isinstance(expected, dict):
        parts = [
            _value_difference(
                actual.get(name), expected.get(name), f"{key}.{name}" if key else name
            )
            for name in dict.fromkeys((*expected, *actual))
        ]
        return "; ".join(part for part in parts if part)
    return "" if actual == expected else f"{key} is {actual}, not {expected}"


def _byte_difference(actual: bytes, expected: bytes) -> str:
    pairs = enumerate(zip(actual, expected, strict=False))
    first = next(
        (index for index, (byte, other) in pairs if byte != other), min(len(actual), len(expected))
    )
    return f"from byte {first} on ({len(actual)} bytes, not {len(expected)})"
