"""The formats keras and saved_model agree with `predict`, and load without this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.data.images import make_images
from tests.export.agreement import assert_agrees
from tests.export.cases import cases, table, write_case
from tests.export.untrained import write_run, write_table
from tests.marks import slow_except
from trainer.export.bundle import load_bundle
from trainer.export.formats import load_format
from trainer.runs.decisions import Decisions
from trainer.workflows.export import export_run

FORMATS = ("keras", "saved_model")
ALL = ["size", "large", "whole", "colour", "many", "open", "when"]


def config(target: str, *, features: list[str] = ALL, **more: Any) -> dict[str, Any]:
    data = {"source": "table.csv", "target": target, "features": {"include": features}}
    model = {"layers": [{"dense": 5}]}
    return {"data": {**data, **more.pop("data", {})}, "model": model, **more}


PARTS = ["elapsed", "yearday", "year", "week", "day", "weekday", "month", "hour", "date"]
CASES: dict[str, tuple[dict[str, Any], int, bool, Decisions, int]] = {
    "keras": (
        config(
            "multiclass",
            data={
                "numeric": {"scale": "quantile", "indicator": True, "piecewise_bins": 4},
                "categorical": {"encode": "embedding", "min_count": 4, "unknown": "rare"},
                "datetime": {"parts": PARTS},
            },
        ),
        2, True, Decisions(temperature=1.7), 2,
    ),
    "saved_model": (
        config(
            "number",
            features=["size", "colour", "open"],
            data={
                "numeric": {"scale": "robust", "smooth_clip": 3.0},
                "categorical": {"ignore_case": True, "target_mean": True},
                "target_scale": "log",
            },
        ),
        1, False, Decisions(coverage=0.9, half_widths={"number": 0.7}), 3,
    ),
}  # fmt: skip
"""Format → a case that has most of what a run can have."""


def check(name: str, case: Any) -> None:
    with TemporaryDirectory() as folder:
        run, rows = write_case(Path(folder), case)
        export = load_format(name)
        assert_agrees(export, run, rows, Path(folder) / export.file_name)


@pytest.mark.parametrize("name", slow_except(["saved_model"], FORMATS))
def test_agrees_with_predict(name: str) -> None:
    check(name, CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_agrees_with_predict_for_many_configs(name: str, case: Any) -> None:
    check(name, case)


WITHOUT = 'import sys\nsys.modules.update(dict.fromkeys(("trainer", "polars"), None))\n'


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_code_of_the_card_runs_without_this_package(tmp_path: Path, name: str) -> None:
    columns = table(np.random.default_rng(0))
    columns["mean size (µm), 'x'"] = columns.pop("size")
    write_table(tmp_path / "table.csv", {f'"{key}"': cells for key, cells in columns.items()})
    features = ["mean size (µm), 'x'", "colour", "open", "when"]
    run = write_run(tmp_path, config("binary", features=features))
    export, bundle = load_format(name), load_bundle(run)
    schema = export.schema(bundle)
    export.write(bundle, schema, tmp_path / export.file_name)
    code = "\n".join(export.snippet(schema, export.file_name))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "probabilities" in done.stdout


@pytest.mark.parametrize("name", FORMATS)
def test_column_with_a_slash(tmp_path: Path, name: str) -> None:
    columns = table(np.random.default_rng(0))
    columns["m/s"] = columns.pop("large")
    write_table(tmp_path / "table.csv", columns)
    run = write_run(tmp_path, config("binary", features=["m/s", "whole"]))
    (problem,) = load_format(name).problems(load_bundle(run))
    assert "'m/s'" in problem.found


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FORMATS, "litert"])
def test_images(tmp_path: Path, name: str) -> None:
    make_images(tmp_path / "photos")
    layers = [{"conv2d": {"filters": 2, "kernel_size": 3}}, "global_average_pool"]
    data = {"source": "photos", "target": "label", "image": {"size": 8}}
    run = write_run(tmp_path, {"data": data, "model": {"layers": layers}})
    result = export_run(run, name, None, allow_custom=False)
    assert result.check.is_equal
