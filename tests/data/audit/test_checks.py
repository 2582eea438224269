"""Faults planted one at a time into a clean table: each is found, and nothing else is."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.data.audit.conftest import ROWS, Audit, clean_columns
from trainer.config.schema import Config
from trainer.data.audit.checks import audit
from trainer.data.audit.reading import read_subject

Columns = dict[str, Any]
Plant = Callable[[Columns, np.random.Generator], Columns]
CONFIGS = Path(__file__).parents[3] / "configs" / "data"


def with_rows(columns: Columns, at: Any) -> Columns:
    """The columns with some of their rows once more."""
    return {name: np.concatenate([values, values[at]]) for name, values in columns.items()}


def shared_rows(columns: Columns, draw: np.random.Generator) -> Columns:
    return with_rows(columns, draw.choice(ROWS, 12, replace=False))


def shared_rows_under_new_names(columns: Columns, draw: np.random.Generator) -> Columns:
    columns = with_rows(columns, draw.choice(ROWS, 12, replace=False))
    return {"entry": np.arange(ROWS + 12), **columns}


def nearly_shared_rows(columns: Columns, draw: np.random.Generator) -> Columns:
    copied = with_rows(columns, draw.choice(ROWS, 25, replace=False))
    copied["x0"][ROWS:] *= 1 + 1e-9
    return copied


def contradicting_rows(columns: Columns, draw: np.random.Generator) -> Columns:
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


RARE = ["Utilities", "Pool.Area"]
BY_PART = {"split": {"by": "column", "column": "part"}}
PLANTED: list[tuple[Plant, str, str, str, dict[str, Any]]] = [
    (shared_rows, "yn", "shared_rows", "fault", {}),
    (nearly_shared_rows, "yn", "nearly_shared_rows", "warning", {}),
    (contradicting_rows, "yn", "contradicting_rows", "warning", {}),
    (group_with_its_target, "yn", "group_leak", "fault", {}),
    (group_with_its_target, "yn", "group_leak", "fault", {"features": {"exclude": ["patient_id"]}}),
    (unnamed_group_with_its_target, "yn", "group_leak", "fault", {}),
    (group_by_its_name, "yn", "group_leak", "warning", {}),
    (counter, "yn", "row_identifier", "warning", {}),
    (shuffled_numbers, "yn", "row_identifier", "warning", {}),
    (uuids, "yn", "row_identifier", "warning", {}),
    (named_key, "yn", "row_identifier", "warning", {}),
    (constant, "yn", "constant_column", "warning", {}),
    (nearly_constant, "yn", "nearly_constant_column", "warning", {}),
    (empty, "yn", "empty_column", "warning", {}),
    (renamed_target, "y", "target_giveaway", "fault", {}),
    (consequence, "y", "target_giveaway", "fault", {}),
    (known_for_some, "y", "target_giveaway", "fault", {}),
    (copied_number, "yn", "copied_column", "warning", {}),
    (copied_category, "yn", "copied_column", "warning", {}),
    (infinite, "yn", "infinite_values", "fault", {}),
    (words_among_numbers, "yn", "mixed_types", "fault", {}),
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


@pytest.mark.parametrize("target", ["y", "n"])
@pytest.mark.parametrize("seed", range(3))
def test_a_clean_table_has_no_findings(audited: Audit, target: str, seed: int) -> None:
    assert audited(clean_columns(seed), target=target) == []


@pytest.mark.parametrize(
    ("plant", "target", "kind", "severity", "data"),
    [
        pytest.param(
            plant, target, kind, severity, data, id=f"{plant.__name__}-{target}-{len(data)}"
        )
        for plant, targets, kind, severity, data in PLANTED
        for target in targets
    ],
)
def test_a_planted_fault_is_found_and_nothing_else(
    audited: Audit, plant: Plant, target: str, kind: str, severity: str, data: dict[str, Any]
) -> None:
    columns = plant(clean_columns(1), np.random.default_rng(2))
    found = audited(columns, target=target, **data)
    assert [(one.kind, one.severity) for one in found] == [(kind, severity)], found


def test_copies_under_new_names_are_copies(audited: Audit) -> None:
    columns = shared_rows_under_new_names(clean_columns(1), np.random.default_rng(2))
    assert [one.kind for one in audited(columns)] == ["shared_rows", "row_identifier"]


def test_places_and_counts_of_rows(audited: Audit) -> None:
    columns = shared_rows(clean_columns(1), np.random.default_rng(2))
    (found,) = audited(columns)
    lines = [int(place.rpartition(":")[2]) for place in found.rows]
    assert len(found.rows) == 5 < found.count <= 24
    assert lines == sorted(lines)
    assert f"table.csv:{lines[0]} [shared_rows]" in str(found.problem)
    frame = pl.DataFrame({name: list(values) for name, values in columns.items()})
    for line in lines:
        assert frame.filter(pl.struct(pl.all()) == frame.row(line - 2, named=True)).height == 2


@pytest.mark.parametrize(
    ("plant", "mend"),
    [
        (shared_rows, {"clean": {"duplicates": "drop"}}),
        (group_with_its_target, {"split": {"by": "group", "column": "patient_id"}}),
        (group_by_its_name, {"split": {"by": "group", "column": "householdId"}}),
        (counter, {"features": {"exclude": ["entry"]}}),
        (renamed_target, {"features": {"exclude": ["outcome"]}}),
        (target_with_time, {"split": {"by": "time", "column": "day"}}),
    ],
)
def test_the_setting_that_is_told_mends_it(
    audited: Audit, plant: Plant, mend: dict[str, Any]
) -> None:
    columns = clean_columns(1)
    (found,) = audited(plant(columns, np.random.default_rng(2)))
    section, settings = next(iter(mend.items()))
    assert f"data.{section}" in found.fix
    assert all(str(value).strip("[]'") in found.fix for value in settings.values())
    assert audited(plant(clean_columns(1), np.random.default_rng(2)), **mend) == []


def test_a_table_that_repeats_itself_has_a_note(audited: Audit) -> None:
    draw = np.random.default_rng(0)
    words = draw.choice(["a", "b", "c"], (600, 4))
    label = np.where((words[:, 0] == "a") ^ (draw.random(600) < 0.2), "yes", "no")
    columns = {f"w{place}": words[:, place] for place in range(4)} | {"answer": label}
    found = audited(columns, target="answer")
    assert {(one.kind, one.severity) for one in found} == {
        ("shared_rows", "note"),
        ("contradicting_rows", "note"),
    }


def test_weighted_classes_are_not_told_as_uneven(audited: Audit) -> None:
    columns = imbalance(clean_columns(1), np.random.default_rng(2))
    assert audited(columns, weighted=True) == []


def test_a_gap_of_test_rows_alone_is_a_warning(audited: Audit) -> None:
    columns = drift(clean_columns(1), np.random.default_rng(2))
    columns["x2"] = clean_columns(1)["x2"]
    columns["x1"][np.flatnonzero(columns["part"] == "test")[:3]] = np.inf
    (found,) = audited(columns, **BY_PART)
    assert (found.kind, found.severity, found.count) == ("infinite_values", "warning", 3)


@pytest.mark.parametrize(
    ("table", "target"),
    [
        (CONFIGS / "breast_cancer.csv", "diagnosis"),
        (CONFIGS / "wine.csv", "cultivar"),
        (CONFIGS / "diabetes.csv", "progression"),
        (CONFIGS / "thousand.csv", "label"),
        (Path(__file__).parent / "ames.csv", "price"),
        (Path(__file__).parent / "diamonds.csv", "price"),
    ],
    ids=lambda value: getattr(value, "stem", ""),
)
@pytest.mark.parametrize("seed", [0, 1])
def test_real_tables_have_no_findings(table: Path, target: str, seed: int) -> None:
    data: dict[str, Any] = {"source": str(table), "target": target}
    if table.stem == "ames":
        # Rare in the whole table of 2,930 rows, next to constant in these 240.
        data["features"] = {"exclude": RARE}
    config = Config.model_validate({"seed": seed, "data": data})
    _, subject = read_subject(config)
    assert [one for one in audit(subject, weighted=False) if one.severity != "note"] == []


def test_several_targets(audited: Audit) -> None:
    columns = clean_columns(3)
    draw = np.random.default_rng(4)
    columns["z"] = np.where(columns["x2"] + draw.normal(size=ROWS) > 0, "yes", "no")
    columns["y"] = np.where(columns["y"] == "good", "yes", "no")
    columns.pop("n")
    assert audited(columns, target=["y", "z"]) == []
    columns["copy"] = np.where(columns["z"] == "yes", "A", "B")
    (found,) = audited(columns, target=["y", "z"])
    assert (found.kind, found.columns) == ("target_giveaway", ("copy",))


def test_findings_are_plain_data(audited: Audit) -> None:
    (found,) = audited(placeholder(clean_columns(1), np.random.default_rng(2)))
    told = found.to_json()
    assert told["columns"] == ["age"]
    assert told["count"] == 30
    assert "-999" in told["found"]
    assert "data.csv.null_values" in told["fix"]


def test_numbers_of_any_size(audited: Audit) -> None:
    columns = clean_columns(1)
    draw = np.random.default_rng(2)
    columns["tiny_to_huge"] = 10.0 ** draw.uniform(-300, 300, ROWS)
    columns["nothing"] = np.where(draw.random(ROWS) < 0.3, np.nan, draw.normal(size=ROWS))
    assert audited(columns, target="y") == []


@pytest.mark.parametrize("rows", [5, 12, 30])
@pytest.mark.parametrize("target", ["y", "n"])
def test_a_small_table_has_no_faults(audited: Audit, rows: int, target: str) -> None:
    columns = {name: values[:rows] for name, values in clean_columns(4).items()}
    columns["y"] = np.array(["good", "bad"])[np.arange(rows) % 2]
    found = audited(columns, target=target, split={"test": 0, "validation": 0})
    assert [one for one in found if one.severity == "fault"] == []


def test_one_column_repeats_itself(audited: Audit) -> None:
    draw = np.random.default_rng(2)
    columns = {"day": days(draw.integers(0, 28, 200)), "answer": draw.choice(["yes", "no"], 200)}
    assert {one.severity for one in audited(columns, target="answer")} == {"note"}


def test_drift_that_no_line_sees(audited: Audit) -> None:
    columns = drift(clean_columns(1), np.random.default_rng(2))
    columns["x2"] = clean_columns(1)["x2"] * np.where(columns["part"] == "test", 4, 1)
    (found,) = audited(columns, **BY_PART)
    assert (found.kind, found.columns) == ("drift", ("x2",))
    assert "AUC" not in found.found


def test_drift_that_no_column_shows(audited: Audit) -> None:
    columns = drift(clean_columns(1), np.random.default_rng(2))
    columns["x2"] = clean_columns(1)["x2"]
    for place in range(5):
        columns[f"x{place}"] = columns[f"x{place}"] + 0.3 * (columns["part"] == "test")
    (found,) = audited(columns, **BY_PART)
    assert (found.kind, found.columns) == ("drift", ())
    assert "AUC" in found.found


def test_a_measure_that_gives_the_target_away_is_no_group(audited: Audit) -> None:
    columns = clean_columns(1)
    columns["grams"] = (columns["n"] * 10).round()
    columns["n"] = columns["n"].round(1)
    (found,) = audited(columns, target="n")
    assert (found.kind, found.columns) == ("target_giveaway", ("grams",))
