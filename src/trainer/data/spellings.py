"""The spelling of cells as text: levels and classes, numbers, dates, and words for yes and no.

Importing this module does not import polars, which takes longer than all else that a server needs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from math import isnan

TRUE_WORDS = ("true", "yes")
FALSE_WORDS = ("false", "no")
TRUE_TOKENS = (*TRUE_WORDS, "1", "1.0", "y", "t", "on")
FALSE_TOKENS = (*FALSE_WORDS, "0", "0.0", "n", "f", "off")
INTEGRAL_PATTERN = r"^([+-]?)(0|[1-9][0-9]*)(?:\.0*)?$"
_INTEGRAL = re.compile(INTEGRAL_PATTERN)
NOT_NORMALIZED_PATTERN = r"[^\x21-\x7e ]| {2}|^ | $"
_NOT_NORMALIZED = re.compile(NOT_NORMALIZED_PATTERN)
_ZERO_WIDTH = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")
_DIGITS = re.compile(r"(\d+)")
_SURROGATES = re.compile("[\ud800-\udfff]")
ISO_DATE = re.compile(
    r"^\d{4}-\d{2}-\d{2}"
    r"(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?$"
)


def without_surrogates(text: str) -> str:
    """Return a text with U+FFFD in place of lone surrogates, which no UTF-8 file can contain."""
    return _SURROGATES.sub("\ufffd", text)


def canonical_level(label: str) -> str:
    """Return the canonical spelling of a level or class.

    Integers lose the plus sign and fraction ("1.0" and "+1" become "1", but "01" is unchanged);
    other text is normalized by `normalize_text`.
    """
    match = _INTEGRAL.fullmatch(label)
    if match is None:
        return normalize_text(label)
    return match[2] if match[1] != "-" or match[2] == "0" else f"-{match[2]}"


def normalize_text(label: str) -> str:
    """Normalize text that looks the same.

    Accents are composed (NFC), whitespace is stripped and collapsed to single spaces, and zero-width
    characters are removed.
    """
    if _NOT_NORMALIZED.search(label) is None:
        return label
    return " ".join(_ZERO_WIDTH.sub("", unicodedata.normalize("NFC", label)).split())


def casefold_level(label: str) -> str:
    """Return the key of a level or class with `ignore_case`: its canonical spelling, case-folded."""
    return unicodedata.normalize("NFC", canonical_level(label).casefold())


def case_variants(labels: Iterable[str]) -> list[list[str]]:
    """Return groups of labels that differ only in case, in their order."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(casefold_level(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def merge_case_variants(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Merge the counts of labels that differ only in case, under the most frequent spelling."""
    spellings: dict[str, list[tuple[int, str]]] = {}
    for label, count in counts:
        spellings.setdefault(casefold_level(label), []).append((count, label))
    return {
        min(group, key=lambda item: (-item[0], item[1]))[1]: sum(count for count, _ in group)
        for group in spellings.values()
    }


def parse_number(label: str) -> float | None:
    """Return the number that a text represents, or None."""
    try:
        return float(label) if "_" not in label else None
    except ValueError:
        return None


def natural_sort(labels: Sequence[str]) -> list[str]:
    """Sort labels in natural order: numbers by value, "class_2" before "class_10"."""
    values = {label: parse_number(label) for label in labels}
    if all(value is not None and not isnan(value) for value in values.values()):
        return sorted(labels, key=lambda label: (values[label], label))
    return sorted(labels, key=_natural_key)


def _natural_key(label: str) -> tuple[list[tuple[int, str]], str]:
    parts = _DIGITS.split(label)
    # Compare digits by length first, as `int` rejects thousands of digits.
    key = [
        (len(part.lstrip("0")), part.lstrip("0")) if index % 2 else (0, part.casefold())
        for index, part in enumerate(parts)
    ]
    return key, label


def looks_like_date(word: str) -> bool:
    """Return whether a text has the form of an ISO 8601 date."""
    return ISO_DATE.match(word) is not None


def looks_like_boolean(word: str) -> bool:
    """Return whether a text is true, false, yes or no."""
    return word.lower() in (*TRUE_WORDS, *FALSE_WORDS)
