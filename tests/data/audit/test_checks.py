"""Faults planted one at a time into a clean table: each is found, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.advice import alternatives
from tests.data.audit.conftest import ROWS, Audit, clean_columns
from tests.data.audit.planting import (
    BY_PART,
    PLANTED,
    Plant,
    days,
    drift,
    duplicate_rows,
    imbalance,
    placeholder,
    shared_rows_under_new_names,
)
from trainer.config.schema import Config
from trainer.data.audit.checks import audit
from trainer.data.audit.loading import read_audited_table

CONFIGS = Path(__file__).parents[3] / "configs" / "data"
RARE = ["Utilities", "Pool.Area"]


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
    for overrides in alternatives({"where": "", "fix": found[0].fix}):
        left = audited(columns, target=target, overrides=overrides, **data)
        assert kind not in [one.kind for one in left], overrides


def test_copies_under_new_names_are_copies(audited: Audit) -> None:
    columns = shared_rows_under_new_names(clean_columns(1), np.random.default_rng(2))
    assert [one.kind for one in audited(columns)] == ["duplicate_rows", "row_identifier"]


def test_places_and_counts_of_rows(audited: Audit) -> None:
    columns = duplicate_rows(clean_columns(1), np.random.default_rng(2))
    (found,) = audited(columns)
    lines = [int(place.rpartition(":")[2]) for place in found.rows]
    assert len(found.rows) == 5 < found.count <= 24
    assert lines == sorted(lines)
    assert f"table.csv:{lines[0]} [duplicate_rows]" in str(found.problem)
    frame = pl.DataFrame({name: list(values) for name, values in columns.items()})
    for line in lines:
        assert frame.filter(pl.struct(pl.all()) == frame.row(line - 2, named=True)).height == 2


def test_a_table_that_repeats_itself_has_a_note(audited: Audit) -> None:
    draw = np.random.default_rng(0)
    words = draw.choice(["a", "b", "c"], (600, 4))
    label = np.where((words[:, 0] == "a") ^ (draw.random(600) < 0.2), "yes", "no")
    columns = {f"w{place}": words[:, place] for place in range(4)} | {"answer": label}
    found = audited(columns, target="answer")
    assert {(one.kind, one.severity) for one in found} == {
        ("duplicate_rows", "note"),
        ("conflicting_rows", "note"),
    }


def test_weighted_classes_are_not_told_as_uneven(audited: Audit) -> None:
    columns = imbalance(clean_columns(1), np.random.default_rng(2))
    assert audited(columns, overrides=["fit.class_weight=balanced"]) == []


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
    _, audited = read_audited_table(config)
    assert [one for one in audit(audited, config) if one.severity != "note"] == []


def test_several_targets(audited: Audit) -> None:
    columns = clean_columns(3)
    draw = np.random.default_rng(4)
    columns["z"] = np.where(columns["x2"] + draw.normal(size=ROWS) > 0, "yes", "no")
    columns["y"] = np.where(columns["y"] == "good", "yes", "no")
    columns.pop("n")
    assert audited(columns, target=["y", "z"]) == []
    columns["copy"] = np.where(columns["z"] == "yes", "A", "B")
    (found,) = audited(columns, target=["y", "z"])
    assert (found.kind, found.columns) == ("target_leakage", ("copy",))


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
    assert [one for one in found if one.severity == "error"] == []


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
    assert (found.kind, found.columns) == ("target_leakage", ("grams",))
