"""Whether two run directories are the same run, and where they first are not.

Owns: which files count, the words for a difference.
"""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

NOT_COMPARED = ("manifest.json", "timing.jsonl", "report.html", "lock")
"""They tell of time and processes."""


def compared(run: Path) -> dict[str, bytes]:
    """Path in the run → content, of each file that has to be the same."""
    names = [str(path.relative_to(run)) for path in sorted(run.rglob("*")) if path.is_file()]
    return {
        name: (run / name).read_bytes()
        for name in names
        # Former checkpoints are of another moment.
        if name not in NOT_COMPARED and not name.startswith("checkpoints/last-")
    }


def differences(run: Path, undisturbed: Path) -> list[str]:
    """Each file that differs, with the first place in it; empty for the same run."""
    found, expected = compared(run), compared(undisturbed)
    told = [f"{name}: missing" for name in expected if name not in found]
    told += [f"{name}: should not be there" for name in found if name not in expected]
    return told + [
        f"{name}: {_difference(name, found[name], expected[name])}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]


def _difference(name: str, found: bytes, expected: bytes) -> str:
    try:
        if name.endswith(".npz"):
            return _of_archives(found, expected, _of_arrays)
        if name.endswith(".keras"):
            return _of_archives(found, expected, _of_bytes)
        if name.endswith(".jsonl"):
            return _of_lines(found, expected)
        if name.endswith(".json"):
            return _of_values(json.loads(found), json.loads(expected)) or "only in its form"
    except ValueError as damage:
        return f"damaged: {damage}"
    return _of_bytes(found, expected)


def _of_archives(found: bytes, expected: bytes, differ: Any) -> str:
    with zipfile.ZipFile(BytesIO(found)) as one, zipfile.ZipFile(BytesIO(expected)) as other:
        names = list(dict.fromkeys((*other.namelist(), *one.namelist())))
        told = []
        for name in names:
            if name not in one.namelist() or name not in other.namelist():
                told.append(f"{name} is {'too much' if name in one.namelist() else 'missing'}")
            elif one.read(name) != other.read(name):
                told.append(f"{name}: {differ(one.read(name), other.read(name))}")
    return "; ".join(told) or "only in its form"


def _of_arrays(found: bytes, expected: bytes) -> str:
    one, other = (np.load(BytesIO(content), allow_pickle=False) for content in (found, expected))
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return f"{one.dtype}{one.shape}, not {other.dtype}{other.shape}"
    if one.ndim == 0 or one.dtype.kind not in "biuf":
        return f"{one}, not {other}"
    count = int((one != other).sum())
    most = np.nanmax(np.abs(one.astype(float) - other.astype(float)))
    return f"{count} of {one.size} values, by at most {most:.3g}"


def _of_lines(found: bytes, expected: bytes) -> str:
    ones, others = found.splitlines(), expected.splitlines()
    for number, (one, other) in enumerate(zip(ones, others, strict=False), start=1):
        if one != other:
            return f"line {number}: {_of_values(json.loads(one), json.loads(other))}"
    return f"{len(ones)} lines, not {len(others)}"


def _of_values(found: Any, expected: Any, key: str = "") -> str:
    if isinstance(found, dict) and isinstance(expected, dict):
        told = [
            _of_values(found.get(name), expected.get(name), f"{key}.{name}" if key else name)
            for name in dict.fromkeys((*expected, *found))
        ]
        return "; ".join(text for text in told if text)
    return "" if found == expected else f"{key} is {found}, not {expected}"


def _of_bytes(found: bytes, expected: bytes) -> str:
    place = next(
        (at for at, (one, other) in enumerate(zip(found, expected, strict=False)) if one != other),
        min(len(found), len(expected)),
    )
    return f"from byte {place} on ({len(found)} bytes, not {len(expected)})"
