"""Faults, one function each: columns of a clean table in, the same with one fault out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np

from tests.data.audit.conftest import ROWS

Columns = dict[str, Any]
Plant = Callable[[Columns, np.random.Generator], Columns]


def with_rows(columns: Columns, at: Any) -> Columns:
    """The columns with some of their rows once more."""
    return {name: np.concatenate([values, values[at]]) for name, values in columns.items()}


def duplicate_rows(columns: Columns, draw: np.random.Generator) -> Columns:
    return with_rows(columns, draw.choice(ROWS, 12, replace=False))


def shared_rows_under_new_names(columns: Columns, draw: np.random.Generator) -> Columns:
    columns = with_rows(columns, draw.choice(ROWS, 12, replace=False))
    return {"entry": np.arange(ROWS + 12), **columns}


def near_duplicate_rows(columns: Columns, draw: np.random.Generator) -> Columns:
    copied = with_rows(columns, draw.choice(ROWS, 25, replace=False))
    copied["x0"][ROWS:] *= 1 + 1e-9
    return copied


def conflicting_rows(columns: Columns, draw: np.random.Generator) -> Columns:
    copied = with_rows(columns, draw.choice(ROWS, 20, replace=False))
    copied["y"][ROWS:] = np.where(copied["y"][ROWS:] == "good", "bad", "good")
    copied["n"][ROWS:] += 9
    return copied


def group_with_its_target(columns: Columns, draw: np.random.Generator) -> Columns:
    patient = draw.integers(0, 150, ROWS)
    good, level = draw.random(150) < 0.5, draw.normal(20, 5, 150)
    columns["y"] = np.where(good[patient], "good", "bad")
    columns["n"] = (level[patient] + draw.normal(0, 0.3, ROWS)).round(3)
    return {"patient_id": patient, **columns}


def unnamed_group_with_its_target(columns: Columns, draw: np.random.Generator) -> Columns:
    columns = group_with_its_target(columns, draw)
    return {"origin": [f"o{number}" for number in columns.pop("patient_id")], **columns}


def group_by_its_name(columns: Columns, draw: np.random.Generator) -> Columns:
    return {"householdId": draw.integers(1000, 1200, ROWS), **columns}


def counter(columns: Columns, draw: np.random.Generator) -> Columns:
    return {"entry": np.arange(5000, 5000 + ROWS), **columns}


def shuffled_numbers(columns: Columns, draw: np.random.Generator) -> Columns:
    return {"entry": draw.permutation(ROWS), **columns}


def uuids(columns: Columns, draw: np.random.Generator) -> Columns:
    words = [str(uuid.UUID(bytes=draw.bytes(16))) for _ in range(ROWS)]
    return {"entry": words, **columns}


def named_key(columns: Columns, draw: np.random.Generator) -> Columns:
    return {"orderId": draw.choice(10**9, ROWS, replace=False), **columns}


def constant(columns: Columns, draw: np.random.Generator) -> Columns:
    return {**columns, "country": np.full(ROWS, "NL")}


def nearly_constant(columns: Columns, draw: np.random.Generator) -> Columns:
    values = np.zeros(ROWS)
    # By stratum and hash some of the few train for certain.
    values[[3]] = 1
    return {**columns, "bonus": values}


def empty(columns: Columns, draw: np.random.Generator) -> Columns:
    return {**columns, "remark": [None] * ROWS}


def renamed_target(columns: Columns, draw: np.random.Generator) -> Columns:
    return {**columns, "outcome": np.where(columns["y"] == "good", "A", "B")}


def consequence(columns: Columns, draw: np.random.Generator) -> Columns:
    good = columns["y"] == "good"
    refund = np.where(good, draw.normal(5, 1, ROWS), draw.normal(-5, 1, ROWS))
    return {**columns, "refund": refund.round(3)}


def known_for_some(columns: Columns, draw: np.random.Generator) -> Columns:
    words = np.where(columns["y"] == "good", "A", "B").astype(object)
    words[draw.random(ROWS) < 0.6] = None
    return {**columns, "verdict": list(words)}


def copied_number(columns: Columns, draw: np.random.Generator) -> Columns:
    return {**columns, "x0_in_cm": (columns["x0"] * 2.54 + 1).round(5)}


def copied_category(columns: Columns, draw: np.random.Generator) -> Columns:
    return {**columns, "farbe": [f"_{word}_" for word in columns["colour"]]}


def infinite(columns: Columns, draw: np.random.Generator) -> Columns:
    columns["x1"][draw.choice(ROWS, 5, replace=False)] = np.inf
    return columns


def words_among_numbers(columns: Columns, draw: np.random.Generator) -> Columns:
    values = [str(value) for value in columns["x1"]]
    for at in draw.choice(ROWS, 15, replace=False):
        values[at] = "unknown"
    return {**columns, "x1": values}


def numbers_among_words(columns: Columns, draw: np.random.Generator) -> Columns:
    values = [str(value) for value in columns["x1"]]
    for at in draw.choice(ROWS, 250, replace=False):
        values[at] = "not measured"
    return {**columns, "x1": values}


def with_units(columns: Columns, draw: np.random.Generator) -> Columns:
    return {**columns, "weight": [f"{value:.1f} kg" for value in 70 + 9 * draw.normal(size=ROWS)]}


def with_thousands(columns: Columns, draw: np.random.Generator) -> Columns:
    return {**columns, "income": [f"${value:,}" for value in draw.integers(800, 90_000, ROWS)]}


def placeholder(columns: Columns, draw: np.random.Generator) -> Columns:
    columns["age"][draw.choice(ROWS, 30, replace=False)] = -999
    return columns


def many_levels(columns: Columns, draw: np.random.Generator) -> Columns:
    return {**columns, "street": [f"s{number}" for number in draw.integers(0, 1200, ROWS)]}


def unseen_levels(columns: Columns, draw: np.random.Generator) -> Columns:
    part = np.array(["train", "train", "train", "test"])[np.arange(ROWS) % 4]
    shop = draw.choice(["a", "b", "c", "e"], ROWS)
    shop[(part == "test") & (draw.random(ROWS) < 0.09)] = "d"
    return {**columns, "shop": shop, "part": part}


def drift(columns: Columns, draw: np.random.Generator) -> Columns:
    part = np.array(["train", "train", "train", "test"])[np.arange(ROWS) % 4]
    columns["x2"] = columns["x2"] + 1.5 * (part == "test")
    return {**columns, "part": part}


def rare_class(columns: Columns, draw: np.random.Generator) -> Columns:
    columns["y"] = columns["y"].astype("U8")
    columns["y"][draw.choice(ROWS, 20, replace=False)] = "ugly"
    rare = np.flatnonzero(columns["y"] == "ugly")[3:]
    columns["y"][rare] = "bad"
    return columns


def imbalance(columns: Columns, draw: np.random.Generator) -> Columns:
    columns["y"] = np.where(np.arange(ROWS) % 125 == 7, "bad", "good")
    return columns


def missing_by_class(columns: Columns, draw: np.random.Generator) -> Columns:
    gone = draw.random(ROWS) < np.where(columns["y"] == "good", 0.5, 0.1)
    return {
        **columns,
        "x3": [None if gap else v for gap, v in zip(gone, columns["x3"], strict=True)],
    }


def target_outliers(columns: Columns, draw: np.random.Generator) -> Columns:
    columns["n"][draw.choice(ROWS, 5, replace=False)] *= 100
    return columns


def days(order: Any) -> list[str]:
    return [(date(2020, 1, 1) + timedelta(days=int(day))).isoformat() for day in order]


def later_training(columns: Columns, draw: np.random.Generator) -> Columns:
    part = np.where(np.arange(ROWS) < 200, "test", "train")
    return {**columns, "day": days(np.arange(ROWS)), "part": part}


def target_with_time(columns: Columns, draw: np.random.Generator) -> Columns:
    columns["n"] = columns["n"] + np.arange(ROWS) / 100
    columns["y"] = np.where(columns["n"] > np.median(columns["n"]), "good", "bad")
    return {**columns, "day": days(np.arange(ROWS) // 2)}


BY_PART = {"split": {"by": "column", "column": "part"}}
PLANTED: list[tuple[Plant, str, str, str, dict[str, Any]]] = [
    (duplicate_rows, "yn", "duplicate_rows", "error", {}),
    (near_duplicate_rows, "yn", "near_duplicate_rows", "warning", {}),
    (conflicting_rows, "yn", "conflicting_rows", "warning", {}),
    (group_with_its_target, "yn", "group_leak", "error", {}),
    (group_with_its_target, "yn", "group_leak", "error", {"features": {"exclude": ["patient_id"]}}),
    (unnamed_group_with_its_target, "yn", "group_leak", "error", {}),
    (group_by_its_name, "yn", "group_leak", "warning", {}),
    (counter, "yn", "row_identifier", "warning", {}),
    (shuffled_numbers, "yn", "row_identifier", "warning", {}),
    (uuids, "yn", "row_identifier", "warning", {}),
    (named_key, "yn", "row_identifier", "warning", {}),
    (constant, "yn", "constant_column", "warning", {}),
    (nearly_constant, "yn", "nearly_constant_column", "warning", {}),
    (empty, "yn", "empty_column", "warning", {}),
    (renamed_target, "y", "target_leakage", "error", {}),
    (consequence, "y", "target_leakage", "error", {}),
    (known_for_some, "y", "target_leakage", "error", {}),
    (copied_number, "yn", "redundant_column", "warning", {}),
    (copied_category, "yn", "redundant_column", "warning", {}),
    (infinite, "yn", "infinite_values", "error", {}),
    (words_among_numbers, "yn", "mixed_types", "error", {}),
    (numbers_among_words, "yn", "mixed_types", "warning", {}),
    (with_units, "yn", "numbers_as_text", "warning", {}),
    (with_thousands, "yn", "numbers_as_text", "warning", {}),
    (placeholder, "yn", "placeholder_values", "warning", {}),
    (many_levels, "yn", "many_levels", "warning", {}),
    (rare_class, "y", "rare_class", "warning", {}),
    (imbalance, "y", "class_imbalance", "warning", {}),
    (missing_by_class, "y", "missing_by_class", "warning", {}),
    (target_outliers, "n", "target_outliers", "warning", {}),
    (unseen_levels, "yn", "unseen_levels", "warning", BY_PART),
    (drift, "yn", "drift", "warning", BY_PART),
    (later_training, "yn", "time_order", "warning", BY_PART),
    (target_with_time, "yn", "time_ignored", "warning", {}),
]
