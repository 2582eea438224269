"""Functions that each add one problem to the columns of a clean table."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np

from tests.audit.conftest import ROWS

Columns = dict[str, Any]
Plant = Callable[[Columns, np.random.Generator], Columns]


def with_rows(columns: Columns, rows: Any) -> Columns:
    """Append copies of some rows."""
    return {name: np.concatenate([values, values[rows]]) for name, values in columns.items()}


def add_duplicates(columns: Columns, rng: np.random.Generator) -> Columns:
    return with_rows(columns, rng.choice(ROWS, 12, replace=False))


def duplicates_with_new_identifiers(columns: Columns, rng: np.random.Generator) -> Columns:
    columns = with_rows(columns, rng.choice(ROWS, 12, replace=False))
    return {"entry": np.arange(ROWS + 12), **columns}


def add_near_duplicates(columns: Columns, rng: np.random.Generator) -> Columns:
    copied = with_rows(columns, rng.choice(ROWS, 25, replace=False))
    copied["x0"][ROWS:] *= 1 + 1e-9
    return copied


def add_conflicts(columns: Columns, rng: np.random.Generator) -> Columns:
    copied = with_rows(columns, rng.choice(ROWS, 20, replace=False))
    copied["y"][ROWS:] = np.where(copied["y"][ROWS:] == "good", "bad", "good")
    copied["n"][ROWS:] += 9
    return copied


def group_with_constant_target(columns: Columns, rng: np.random.Generator) -> Columns:
    patient = rng.integers(0, 150, ROWS)
    good, level = rng.random(150) < 0.5, rng.normal(20, 5, 150)
    columns["y"] = np.where(good[patient], "good", "bad")
    columns["n"] = (level[patient] + rng.normal(0, 0.3, ROWS)).round(3)
    return {"patient_id": patient, **columns}


def unnamed_group_with_constant_target(columns: Columns, rng: np.random.Generator) -> Columns:
    columns = group_with_constant_target(columns, rng)
    return {"origin": [f"o{number}" for number in columns.pop("patient_id")], **columns}


def group_with_a_key_name(columns: Columns, rng: np.random.Generator) -> Columns:
    return {"householdId": rng.integers(1000, 1200, ROWS), **columns}


def counter(columns: Columns, rng: np.random.Generator) -> Columns:
    return {"entry": np.arange(5000, 5000 + ROWS), **columns}


def shuffled_numbers(columns: Columns, rng: np.random.Generator) -> Columns:
    return {"entry": rng.permutation(ROWS), **columns}


def uuids(columns: Columns, rng: np.random.Generator) -> Columns:
    values = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(ROWS)]
    return {"entry": values, **columns}


def named_key(columns: Columns, rng: np.random.Generator) -> Columns:
    return {"orderId": rng.choice(10**9, ROWS, replace=False), **columns}


def constant(columns: Columns, rng: np.random.Generator) -> Columns:
    return {**columns, "country": np.full(ROWS, "NL")}


def nearly_constant(columns: Columns, rng: np.random.Generator) -> Columns:
    values = np.zeros(ROWS)
    values[3] = 1
    return {**columns, "bonus": values}


def empty(columns: Columns, rng: np.random.Generator) -> Columns:
    return {**columns, "remark": [None] * ROWS}


def renamed_target(columns: Columns, rng: np.random.Generator) -> Columns:
    return {**columns, "outcome": np.where(columns["y"] == "good", "A", "B")}


def consequence(columns: Columns, rng: np.random.Generator) -> Columns:
    good = columns["y"] == "good"
    refund = np.where(good, rng.normal(5, 1, ROWS), rng.normal(-5, 1, ROWS))
    return {**columns, "refund": refund.round(3)}


def known_for_some_rows(columns: Columns, rng: np.random.Generator) -> Columns:
    values = np.where(columns["y"] == "good", "A", "B").astype(object)
    values[rng.random(ROWS) < 0.6] = None
    return {**columns, "verdict": list(values)}


def copied_number(columns: Columns, rng: np.random.Generator) -> Columns:
    return {**columns, "x0_in_cm": (columns["x0"] * 2.54 + 1).round(5)}


def copied_category(columns: Columns, rng: np.random.Generator) -> Columns:
    return {**columns, "farbe": [f"_{value}_" for value in columns["color"]]}


def infinite(columns: Columns, rng: np.random.Generator) -> Columns:
    columns["x1"][rng.choice(ROWS, 5, replace=False)] = np.inf
    return columns


def text_among_numbers(columns: Columns, rng: np.random.Generator) -> Columns:
    values = [str(value) for value in columns["x1"]]
    for row in rng.choice(ROWS, 15, replace=False):
        values[row] = "unknown"
    return {**columns, "x1": values}


def numbers_among_text(columns: Columns, rng: np.random.Generator) -> Columns:
    values = [str(value) for value in columns["x1"]]
    for row in rng.choice(ROWS, 250, replace=False):
        values[row] = "not measured"
    return {**columns, "x1": values}


def with_units(columns: Columns, rng: np.random.Generator) -> Columns:
    return {**columns, "weight": [f"{value:.1f} kg" for value in 70 + 9 * rng.normal(size=ROWS)]}


def with_thousands(columns: Columns, rng: np.random.Generator) -> Columns:
    return {**columns, "income": [f"${value:,}" for value in rng.integers(800, 90_000, ROWS)]}


def placeholder(columns: Columns, rng: np.random.Generator) -> Columns:
    columns["age"][rng.choice(ROWS, 30, replace=False)] = -999
    return columns


def many_categories(columns: Columns, rng: np.random.Generator) -> Columns:
    return {**columns, "street": [f"s{number}" for number in rng.integers(0, 1200, ROWS)]}


def unseen_categories(columns: Columns, rng: np.random.Generator) -> Columns:
    part = np.array(["train", "train", "train", "test"])[np.arange(ROWS) % 4]
    shop = rng.choice(["a", "b", "c", "e"], ROWS)
    shop[(part == "test") & (rng.random(ROWS) < 0.09)] = "d"
    return {**columns, "shop": shop, "part": part}


def drift(columns: Columns, rng: np.random.Generator) -> Columns:
    part = np.array(["train", "train", "train", "test"])[np.arange(ROWS) % 4]
    columns["x2"] = columns["x2"] + 1.5 * (part == "test")
    return {**columns, "part": part}


def rare_class(columns: Columns, rng: np.random.Generator) -> Columns:
    columns["y"] = columns["y"].astype("U8")
    columns["y"][rng.choice(ROWS, 20, replace=False)] = "ugly"
    rare = np.flatnonzero(columns["y"] == "ugly")[3:]
    columns["y"][rare] = "bad"
    return columns


def imbalance(columns: Columns, rng: np.random.Generator) -> Columns:
    columns["y"] = np.where(np.arange(ROWS) % 125 == 7, "bad", "good")
    return columns


def missing_by_class(columns: Columns, rng: np.random.Generator) -> Columns:
    is_missing = rng.random(ROWS) < np.where(columns["y"] == "good", 0.5, 0.1)
    return {
        **columns,
        "x3": [
            None if missing else v for missing, v in zip(is_missing, columns["x3"], strict=True)
        ],
    }


def target_outliers(columns: Columns, rng: np.random.Generator) -> Columns:
    columns["n"][rng.choice(ROWS, 5, replace=False)] *= 100
    return columns


def days(order: Any) -> list[str]:
    return [(date(2020, 1, 1) + timedelta(days=int(day))).isoformat() for day in order]


def later_training(columns: Columns, rng: np.random.Generator) -> Columns:
    part = np.where(np.arange(ROWS) < 200, "test", "train")
    return {**columns, "day": days(np.arange(ROWS)), "part": part}


def target_with_time(columns: Columns, rng: np.random.Generator) -> Columns:
    columns["n"] = columns["n"] + np.arange(ROWS) / 100
    columns["y"] = np.where(columns["n"] > np.median(columns["n"]), "good", "bad")
    return {**columns, "day": days(np.arange(ROWS) // 2)}


BY_PART = {"split": {"by": "column", "column": "part"}}
PLANTED: list[tuple[Plant, str, str, str, dict[str, Any]]] = [
    (add_duplicates, "yn", "duplicate_rows", "error", {}),
    (add_near_duplicates, "yn", "near_duplicate_rows", "warning", {}),
    (add_conflicts, "yn", "conflicting_rows", "warning", {}),
    (group_with_constant_target, "yn", "group_leak", "error", {}),
    (
        group_with_constant_target,
        "yn",
        "group_leak",
        "error",
        {"features": {"exclude": ["patient_id"]}},
    ),
    (unnamed_group_with_constant_target, "yn", "group_leak", "error", {}),
    (group_with_a_key_name, "yn", "group_leak", "warning", {}),
    (counter, "yn", "row_identifier", "warning", {}),
    (shuffled_numbers, "yn", "row_identifier", "warning", {}),
    (uuids, "yn", "row_identifier", "warning", {}),
    (named_key, "yn", "row_identifier", "warning", {}),
    (constant, "yn", "constant_column", "warning", {}),
    (nearly_constant, "yn", "nearly_constant_column", "warning", {}),
    (empty, "yn", "empty_column", "warning", {}),
    (renamed_target, "y", "target_leakage", "error", {}),
    (consequence, "y", "target_leakage", "error", {}),
    (known_for_some_rows, "y", "target_leakage", "error", {}),
    (copied_number, "yn", "redundant_column", "warning", {}),
    (copied_category, "yn", "redundant_column", "warning", {}),
    (infinite, "yn", "infinite_values", "error", {}),
    (text_among_numbers, "yn", "mixed_types", "error", {}),
    (numbers_among_text, "yn", "mixed_types", "warning", {}),
    (with_units, "yn", "numbers_as_text", "warning", {}),
    (with_thousands, "yn", "numbers_as_text", "warning", {}),
    (placeholder, "yn", "placeholder_values", "warning", {}),
    (many_categories, "yn", "many_categories", "warning", {}),
    (rare_class, "y", "rare_class", "warning", {}),
    (imbalance, "y", "class_imbalance", "warning", {}),
    (missing_by_class, "y", "missing_by_class", "warning", {}),
    (target_outliers, "n", "target_outliers", "warning", {}),
    (unseen_categories, "yn", "unseen_categories", "warning", BY_PART),
    (drift, "yn", "drift", "warning", BY_PART),
    (later_training, "yn", "time_order", "warning", BY_PART),
    (target_with_time, "yn", "time_ignored", "warning", {}),
]
