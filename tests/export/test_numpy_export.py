"""The module of the format numpy is short and readable, needs only NumPy, and agrees with `predict`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from polars.testing import assert_frame_equal

import trainer
from tests.export.test_agreement import cases, new_rows, table
from tests.export.untrained import write_run, write_table
from trainer.export.bundle import load_bundle
from trainer.export.formats import ExportFormat
from trainer.export.numpy_export import ARRAYS, MODULE, SCHEMA, NumpyFormat
from trainer.export.rows import RowEncoder, predictions_frame
from trainer.export.schema import Schema


def write_case(folder: Path, case: Any) -> tuple[Path, pl.DataFrame]:
    """Write the run of a case, and return it with rows to predict."""
    config, members, folds, decisions, seed = case
    rng = np.random.default_rng(seed)
    columns = table(rng)
    write_table(folder / "table.csv", columns)
    parts = [
        [f"data.split.fold={number + 1}/{members}"] if folds else [f"seed={number}"]
        for number in range(members)
    ]
    parts = parts if members > 1 else []
    run = write_run(folder, config, members=parts, decisions=decisions, seed=seed)
    return run, new_rows(rng, columns)


def assert_agrees(export: ExportFormat, run: Path, rows: pl.DataFrame, path: Path) -> None:
    """Write an export, and compare it with `predict`."""
    bundle = load_bundle(run)
    assert export.problems(bundle) == []
    schema = export.schema(bundle)
    export.write(bundle, schema, path)
    outputs = export.load(path)(RowEncoder(schema).encode(rows))
    found = predictions_frame(schema, outputs)
    expected = trainer.load(run, device="cpu").predict(rows).drop("row")
    assert found.columns == expected.columns
    numbers = [name for name in expected.columns if expected.schema[name].is_float()]
    for name in numbers:
        a, b = expected[name].to_numpy(), found[name].to_numpy()
        scale = 1.0 if schema.classes or "label" in name else np.maximum(np.std(a), np.abs(a))
        np.testing.assert_array_less(np.abs(a - b) / scale, 1e-5, name)
    others = [name for name in expected.columns if name not in numbers]
    assert_frame_equal(found.select(others), expected.select(others), check_dtypes=False)


def check(case: Any) -> None:
    with TemporaryDirectory() as name:
        run, rows = write_case(Path(name), case)
        assert_agrees(NumpyFormat(), run, rows, Path(name) / "model")


@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@given(cases())
def test_module_agrees_with_predict(case: Any) -> None:
    check(case)


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(cases())
def test_module_agrees_with_predict_for_many_configs(case: Any) -> None:
    check(case)


CONFIG = {
    "data": {
        "source": "table.csv",
        "target": "binary",
        "features": {"include": ["size", "colour", "open", "when"]},
    },
    "model": {"layers": [{"dense": {"units": 5, "activation": "gelu"}}]},
}
ALONE = """
import json, sys
sys.modules.update(dict.fromkeys(("trainer", "tensorflow", "keras", "polars"), None))
from numpy_model.model import COLUMNS, predict
outputs = predict(json.loads(sys.argv[1]))
print(json.dumps([list(COLUMNS), {name: array.tolist() for name, array in outputs.items()}]))
"""


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    write_table(tmp_path / "table.csv", table(np.random.default_rng(0)))
    run = write_run(tmp_path, CONFIG)
    bundle, export = load_bundle(run), NumpyFormat()
    export.write(bundle, export.schema(bundle), tmp_path / "numpy_model")
    return tmp_path / "numpy_model"


def test_module_needs_only_numpy_and_takes_lists(exported: Path) -> None:
    rows = {
        "size": [1.5, None],
        "colour": ["red", None],
        "open": [True, 0],
        "when": ["2021-12-24T18:00:00", None],
    }
    done = subprocess.run(
        [sys.executable, "-c", ALONE, json.dumps(rows)],
        cwd=exported.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    columns, found = json.loads(done.stdout)
    assert columns == ["size", "colour", "open", "when"]
    run = exported.parent / "run"
    text = {
        name: [None if cell is None else str(cell) for cell in cells]
        for name, cells in rows.items()
    }
    expected = trainer.load(run, device="cpu").predict(pl.DataFrame(text))
    assert found["label"] == expected["label"].to_list()
    np.testing.assert_allclose(
        np.array(found["probabilities"])[:, 1], expected["probability_bad"], atol=1e-6
    )
    assert found["unseen"] == [False, False]


def test_files(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [ARRAYS, MODULE, SCHEMA]
    assert (exported / MODULE).read_text().count("\n") < 200
    schema = Schema.from_json((exported / SCHEMA).read_text())
    assert [field.name for field in schema.inputs] == ["size", "colour", "open", "when"]
    with np.load(exported / ARRAYS, allow_pickle=False) as arrays:
        assert "members/0000/dense/kernel" in arrays.files


def test_missing_column(exported: Path) -> None:
    model = NumpyFormat().load(exported)
    with pytest.raises(KeyError, match="'colour', 'open', 'when'"):
        model({"size": np.zeros(1)})


def test_same_run_gives_the_same_bytes(exported: Path) -> None:
    bundle, export = load_bundle(exported.parent / "run"), NumpyFormat()
    again = exported.with_name("again")
    export.write(bundle, export.schema(bundle), again)
    for name in (ARRAYS, MODULE, SCHEMA):
        assert (again / name).read_bytes() == (exported / name).read_bytes()


def test_layers_without_code(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", table(np.random.default_rng(0)))
    layers = [{"reshape": [4, 1]}, {"conv1d": {"filters": 2, "kernel_size": 2}}, "flatten"]
    used = ["size", "large", "whole", "many"]
    data = {
        "source": "table.csv",
        "target": "binary",
        "features": {"include": used},
        "categorical": {"encode": "ordinal"},
    }
    run = write_run(tmp_path, {"data": data, "model": {"layers": layers}})
    (problem,) = NumpyFormat().problems(load_bundle(run))
    assert "of class Conv1D" in problem.found
    assert "onnx" in problem.fix
