"""Problems in columns of text: markup, broken encodings, empty texts, and texts that name the label."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from trainer.audit.audited_table import AuditedTable
from trainer.audit.findings import Finding, exclusion_setting, join_first
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import BoolArray
from trainer.data.ngrams import clean_text
from trainer.metrics.labels import class_indices

_MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|&(?:[a-zA-Z]{2,8}|#\d{1,6});")
_BROKEN = re.compile("\ufffd|Ã[\u0080-\u00bf]|â€[\u0080-\u203a™œ]")
_MIN_SHARE = 0.01
_MIN_NAME = 3
_NAMED, _NAMED_ELSEWHERE = 0.8, 0.1
_MIN_ROWS = 5
_MAX_LENGTH = 20_000


def find_text_problems(audited: AuditedTable) -> list[Finding]:
    """Find texts that are empty, have markup or characters of a wrong encoding, or name their class."""
    findings: list[Finding] = []
    for name in audited.texts:
        texts = [text[:_MAX_LENGTH] for text in audited.cleaned(name)]
        checks = {
            "are empty or missing": (
                np.array([not text for text in texts], np.bool_),
                "texts with words", "such rows have no terms",
                "drop them, unless new rows can be empty too",
            ),
            "have HTML tags or entities": (
                _matches(texts, _MARKUP.search),
                "plain text", "names of tags become terms",
                "remove the markup, unless new texts have it too",
            ),
            "have characters of a wrong encoding": (
                _matches(texts, _BROKEN.search),
                "text in one encoding", "words are not recognized",
                "set data.csv.encoding to that of the file",
            ),
        }  # fmt: skip
        for found, (mask, expected, effect, fix) in checks.items():
            if mask.sum() > _MIN_SHARE * len(mask):
                share = f"{mask.sum():,} of {len(mask):,} texts in '{name}' {found}"
                rows = audited.affected_rows(np.flatnonzero(mask), (name,))
                findings.append(Finding("text_quality", "note", rows, expected, share, effect, fix))
        findings += _named_labels(audited, name, texts)
    return findings


def _matches(texts: Sequence[str], test: Callable[[str], object]) -> BoolArray:
    return np.array([test(text) is not None for text in texts], np.bool_)


def _named_labels(audited: AuditedTable, name: str, texts: Sequence[str]) -> list[Finding]:
    """Return a finding if most texts of a class, and few others, contain the name of the class."""
    target = audited.target
    if not TASK_RULES[target.task].is_exclusive or not len(audited.train):
        return []
    labels = class_indices(audited.y)[audited.train]
    lowered = [texts[row].lower() for row in audited.train.tolist()]
    named = []
    for number, label in enumerate(target.classes):
        word = clean_text(label, lowercase=True)
        has_label = labels == number
        if len(word) < _MIN_NAME or int(has_label.sum()) < _MIN_ROWS or has_label.all():
            continue
        pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        contains = _matches(lowered, pattern.search)
        if contains[has_label].mean() >= _NAMED and contains[~has_label].mean() <= _NAMED_ELSEWHERE:
            named.append(f"'{label}' in {contains[has_label].mean():.0%} of its texts")
    if not named:
        return []
    return [
        Finding(
            "target_leakage", "error", audited.affected_columns([name]),
            f"texts in '{name}' that were written before the target was known",
            f"names of classes: {join_first(named)}",
            "the network learns to find the name, which new texts may not have",
            f"remove the names, or set {exclusion_setting([name])}",
        )
    ]  # fmt: skip
