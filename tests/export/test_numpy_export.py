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

import trainer
from tests.export.agreement import assert_agrees
from tests.export.cases import cases, table, write_case
from tests.export.untrained import write_run, write_table
from trainer.export.bundle import load_bundle
from trainer.export.numpy_export import ARRAYS, MAX_LISTED, MODULE, SCHEMA, NumpyFormat
from trainer.export.schema import Schema


def check(case: Any) -> None:
    with TemporaryDirectory() as name:
        run, rows = write_case(Path(name), case)
        assert_agrees(NumpyFormat(), run, rows, Path(name) / "model")


@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@given(cases())
def test_module_agrees_with_predict(case: Any) -> None:
    check(case)


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
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


@pytest.mark.parametrize("name", ["numpy_model", "my model-1"])
def test_code_of_the_card_runs(exported: Path, name: str) -> None:
    exported.rename(exported.with_name(name))
    schema = NumpyFormat().schema(load_bundle(exported.parent / "run"))
    block = 'import sys; sys.modules.update(dict.fromkeys(("trainer", "tensorflow"), None))'
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([block, *NumpyFormat().snippet(schema, name)])],
        cwd=exported.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "probabilities" in done.stdout


def test_code_of_texts(tmp_path: Path) -> None:
    write_table(
        tmp_path / "table.csv", {"text": ["good book", "dull story"] * 30, "y": ["n", "y"] * 30}
    )
    columns = {"text": {"kind": "text"}}
    data = {"source": "table.csv", "target": "y", "text": {"dimension": 2}, "columns": columns}
    run = write_run(tmp_path, {"data": data, "model": {"layers": []}})
    export, bundle = NumpyFormat(), load_bundle(run)
    schema = export.schema(bundle)
    export.write(bundle, schema, tmp_path / "numpy_model")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(export.snippet(schema, "numpy_model"))],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


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


def test_many_columns_are_listed_in_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {
        f"x{number}": rng.normal(size=60).round(3).tolist() for number in range(MAX_LISTED + 1)
    }
    columns["open"] = [["yes", "no"][cell] for cell in rng.integers(0, 2, 60)]
    rows = pl.DataFrame(columns)
    write_table(tmp_path / "table.csv", {**columns, "y": ["a", "b"] * 30})
    data = {"source": "table.csv", "target": "y"}
    run = write_run(tmp_path, {"data": data, "model": {"layers": []}})
    assert_agrees(NumpyFormat(), run, rows, tmp_path / "numpy_model")
    code = "from numpy_model.model import COLUMNS; print(COLUMNS['x0'], COLUMNS['open'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "number boolean\n"
