"""Splits without folds are unchanged, byte for byte, from the version before folds."""

import hashlib
from itertools import product

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Csv
from trainer.config.schema import Config
from trainer.data.assignment import assign_splits
from trainer.data.splits import TEST, TRAIN
from trainer.data.tables import SourceFile, Table
from trainer.errors import DataError

SEEDS = (0, 7, 2**63 - 1)
SHARES = ((0.2, 0.2), (0.3, 0.0), (0.0, 0.15))


def numbers(rows, factor, modulus):
    """Return unordered numbers that are the same on every machine."""
    return [row * factor % modulus for row in range(rows)]


def frame(rows):
    return pl.DataFrame(
        {
            "x": numbers(rows, 37, 101),
            "label": [("a", "b", "b", "c")[n % 4] for n in numbers(rows, 53, 97)],
            "yes": [n % 2 for n in numbers(rows, 29, 83)],
            "also": [n % 3 == 0 for n in numbers(rows, 31, 89)],
            "amount": [n / 7 for n in numbers(rows, 7919, 10007)],
            "group": [f"g{n % 23}" for n in numbers(rows, 41, 103)],
            "day": [f"2024-{1 + n % 12:02d}-{1 + n % 28:02d}" for n in numbers(rows, 43, 113)],
            "part": [("train", "val", "test", "train")[n % 4] for n in numbers(rows, 47, 109)],
        }
    )


TABLES = {"small": 23, "large": 457}
RULES = {
    "auto classes": ("label", {}),
    "auto numbers": ("amount", {}),
    "random": ("label", {"by": "random"}),
    "stratified": ("label", {"by": "stratified"}),
    "stratified columns": (["yes", "also"], {"by": "stratified"}),
    "group": ("label", {"by": "group", "column": "group"}),
    "time": ("amount", {"by": "time", "column": "day"}),
    "column": ("label", {"by": "column", "column": "part"}),
    "hash": ("label", {"by": "hash", "column": "group"}),
    "hash of rows": ("label", {"by": "hash"}),
    "named": ("label", {}),
}


def table_of(rows, rule):
    named = None
    if rule == "named":
        named = np.array([TEST if row % 5 == 0 else TRAIN for row in range(rows)], dtype=np.int8)
    file = SourceFile("table.csv", 1, rows, "")
    return Table(frame(rows), (file,), named, Csv(), ("csv",))


def data_of(rule, test, validation, **split):
    target, settings = RULES[rule]
    shares = {"validation": validation} if rule == "named" else {
        "test": test,
        "validation": validation,
    }  # fmt: skip
    split = {**shares, **settings, **split}
    content = {"data": {"source": "table.csv", "target": target, "split": split}}
    return Config.model_validate(content).data


def digest(table, rule):
    """Hash the assignments, or errors, for all seeds and shares; some rows have no target."""
    has_target = np.arange(table.frame.height) % 11 != 3
    hasher = hashlib.sha256()
    for seed, (test, validation) in product(SEEDS, SHARES):
        try:
            hasher.update(assign_splits(table, data_of(rule, test, validation), seed, has_target))
        except DataError:
            hasher.update(b"DataError")
    return hasher.hexdigest()[:16]


KNOWN = {
    "auto classes": {"small": "f4f01231821518c9", "large": "ff4ebfc32ffea0df"},
    "auto numbers": {"small": "39f6d28968ed41dc", "large": "c8af1ad787002a06"},
    "random": {"small": "39f6d28968ed41dc", "large": "c8af1ad787002a06"},
    "stratified": {"small": "f4f01231821518c9", "large": "ff4ebfc32ffea0df"},
    "stratified columns": {"small": "11cb648238beef9b", "large": "2ee606e32583595f"},
    "group": {"small": "b8bf4f3a2a99e43a", "large": "412e4a737839d1a2"},
    "time": {"small": "4aee63e40bcb34fd", "large": "9d48073740fc8c0d"},
    "column": {"small": "0ddf779648559898", "large": "f28b703d091bd8af"},
    "hash": {"small": "b8bf4f3a2a99e43a", "large": "412e4a737839d1a2"},
    "hash of rows": {"small": "d6a2bf4322809da5", "large": "cf707872c2aaf3c9"},
    "named": {"small": "ee010020984d3892", "large": "8c7587696f4d8012"},
}


@pytest.mark.parametrize("rows", TABLES)
@pytest.mark.parametrize("rule", RULES)
def test_assignments_are_unchanged(rows, rule):
    assert digest(table_of(TABLES[rows], rule), rule) == KNOWN[rule][rows]
