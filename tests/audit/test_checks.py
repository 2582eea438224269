"""Problems added one at a time to a clean table: each is found, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.advice import alternatives
from tests.audit.conftest import ROWS, Audit, clean_columns
from tests.audit.planting import (
    BY_PART,
    PLANTED,
    Plant,
    add_duplicates,
    days,
    drift,
    duplicates_with_new_identifiers,
    imbalance,
    placeholder,
)
from trainer.audit.checks import audit
from trainer.audit.loading import read_audited_table
from trainer.config.schema import Config

CONFIGS = Path(__file__).parents[2] / "configs" / "data"
RARE = ["Utilities", "Pool.Area"]


@pytest.mark.parametrize("target", ["y", "n"])
@pytest.mark.parametrize("seed", range(3))
def test_clean_table_has_no_findings(audit_columns: Audit, target: str, seed: int) -> None:
    assert audit_columns(clean_columns(seed), target=target) == []


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
def test_added_problem_is_found_and_nothing_else(
    audit_columns: Audit, plant: Plant, target: str, kind: str, severity: str, data: dict[str, Any]
) -> None:
    columns = plant(clean_columns(1), np.random.default_rng(2))
    findings = audit_columns(columns, target=target, **data)
    assert [(finding.kind, finding.severity) for finding in findings] == [(kind, severity)], (
        findings
    )
    for overrides in alternatives({"where": "", "fix": findings[0].fix}):
        fixed = audit_columns(columns, target=target, overrides=overrides, **data)
        assert kind not in [finding.kind for finding in fixed], overrides


def test_duplicates_are_found_despite_new_identifiers(audit_columns: Audit) -> None:
    columns = duplicates_with_new_identifiers(clean_columns(1), np.random.default_rng(2))
    assert [finding.kind for finding in audit_columns(columns)] == [
        "duplicate_rows",
        "row_identifier",
    ]


def test_locations_and_counts_of_rows(audit_columns: Audit) -> None:
    columns = add_duplicates(clean_columns(1), np.random.default_rng(2))
    (finding,) = audit_columns(columns)
    lines = [int(index.rpartition(":")[2]) for index in finding.affected.rows]
    assert len(finding.affected.rows) == 5 < finding.affected.count <= 24
    assert lines == sorted(lines)
    assert f"table.csv:{lines[0]} [duplicate_rows]" in str(finding.problem)
    frame = pl.DataFrame({name: list(values) for name, values in columns.items()})
    for line in lines:
        assert frame.filter(pl.struct(pl.all()) == frame.row(line - 2, named=True)).height == 2


def test_rows_repeated_by_chance_are_a_note(audit_columns: Audit) -> None:
    rng = np.random.default_rng(0)
    words = rng.choice(["a", "b", "c"], (600, 4))
    label = np.where((words[:, 0] == "a") ^ (rng.random(600) < 0.2), "yes", "no")
    columns = {f"w{index}": words[:, index] for index in range(4)} | {"target": label}
    findings = audit_columns(columns, target="target")
    assert {(finding.kind, finding.severity) for finding in findings} == {
        ("duplicate_rows", "note"),
        ("conflicting_rows", "note"),
    }


def test_class_weights_suppress_class_imbalance(audit_columns: Audit) -> None:
    columns = imbalance(clean_columns(1), np.random.default_rng(2))
    assert audit_columns(columns, overrides=["fit.class_weight=balanced"]) == []


def test_infinite_values_only_in_test_rows_are_a_warning(audit_columns: Audit) -> None:
    columns = drift(clean_columns(1), np.random.default_rng(2))
    columns["x2"] = clean_columns(1)["x2"]
    columns["x1"][np.flatnonzero(columns["part"] == "test")[:3]] = np.inf
    (finding,) = audit_columns(columns, **BY_PART)
    assert (finding.kind, finding.severity, finding.affected.count) == (
        "infinite_values",
        "warning",
        3,
    )


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
        # Rare in the whole table of 2,930 rows, nearly constant in these 240.
        data["features"] = {"exclude": RARE}
    config = Config.model_validate({"seed": seed, "data": data})
    _, audited = read_audited_table(config)
    assert [finding for finding in audit(audited, config) if finding.severity != "note"] == []


def test_several_targets(audit_columns: Audit) -> None:
    columns = clean_columns(3)
    rng = np.random.default_rng(4)
    columns["z"] = np.where(columns["x2"] + rng.normal(size=ROWS) > 0, "yes", "no")
    columns["y"] = np.where(columns["y"] == "good", "yes", "no")
    columns.pop("n")
    assert audit_columns(columns, target=["y", "z"]) == []
    columns["copy"] = np.where(columns["z"] == "yes", "A", "B")
    (finding,) = audit_columns(columns, target=["y", "z"])
    assert (finding.kind, finding.affected.columns) == ("target_leakage", ("copy",))


def test_finding_to_json(audit_columns: Audit) -> None:
    (finding,) = audit_columns(placeholder(clean_columns(1), np.random.default_rng(2)))
    json = finding.to_json()
    assert json["columns"] == ["age"]
    assert json["count"] == 30
    assert "-999" in json["found"]
    assert "data.csv.null_values" in json["fix"]


def test_numbers_of_any_size(audit_columns: Audit) -> None:
    columns = clean_columns(1)
    rng = np.random.default_rng(2)
    columns["tiny_to_huge"] = 10.0 ** rng.uniform(-300, 300, ROWS)
    columns["nothing"] = np.where(rng.random(ROWS) < 0.3, np.nan, rng.normal(size=ROWS))
    assert audit_columns(columns, target="y") == []


@pytest.mark.parametrize("rows", [5, 12, 30])
@pytest.mark.parametrize("target", ["y", "n"])
def test_small_table_has_no_errors(audit_columns: Audit, rows: int, target: str) -> None:
    columns = {name: values[:rows] for name, values in clean_columns(4).items()}
    columns["y"] = np.array(["good", "bad"])[np.arange(rows) % 2]
    findings = audit_columns(columns, target=target, split={"test": 0, "validation": 0})
    assert [finding for finding in findings if finding.severity == "error"] == []


def test_single_column_repeats_by_chance(audit_columns: Audit) -> None:
    rng = np.random.default_rng(2)
    columns = {"day": days(rng.integers(0, 28, 200)), "target": rng.choice(["yes", "no"], 200)}
    assert {finding.severity for finding in audit_columns(columns, target="target")} == {"note"}


def test_drift_in_scale_only(audit_columns: Audit) -> None:
    columns = drift(clean_columns(1), np.random.default_rng(2))
    columns["x2"] = clean_columns(1)["x2"] * np.where(columns["part"] == "test", 4, 1)
    (finding,) = audit_columns(columns, **BY_PART)
    assert (finding.kind, finding.affected.columns) == ("drift", ("x2",))
    assert "AUC" not in finding.found


def test_drift_only_of_all_columns_together(audit_columns: Audit) -> None:
    columns = drift(clean_columns(1), np.random.default_rng(2))
    columns["x2"] = clean_columns(1)["x2"]
    for index in range(5):
        columns[f"x{index}"] = columns[f"x{index}"] + 0.3 * (columns["part"] == "test")
    (finding,) = audit_columns(columns, **BY_PART)
    assert (finding.kind, finding.affected.columns) == ("drift", ())
    assert "AUC" in finding.found


def test_numeric_copy_of_the_target_is_not_a_group(audit_columns: Audit) -> None:
    columns = clean_columns(1)
    columns["grams"] = (columns["n"] * 10).round()
    columns["n"] = columns["n"].round(1)
    (finding,) = audit_columns(columns, target="n")
    assert (finding.kind, finding.affected.columns) == ("target_leakage", ("grams",))
