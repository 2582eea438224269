"""Exports agree with `predict`, an ONNX file for random configs and random rows.

Networks have random weights: training would only make the test slow.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from tests.export.agreement import assert_agrees, assert_onnx_agrees
from tests.export.cases import cases, table, write_case
from tests.export.untrained import write_run, write_table
from tests.marks import slow_except
from trainer.export.formats import FORMATS, load_format
from trainer.runs.decisions import Decisions


def check(case: Any) -> None:
    with TemporaryDirectory() as name:
        run, rows = write_case(Path(name), case)
        assert_onnx_agrees(run, rows, Path(name))


def test_embeddings_beside_numbers_and_dates() -> None:
    config = {
        "data": {
            "source": "table.csv", "target": "number", "target_scale": "log",
            "features": {"include": ["size", "colour", "many", "when"]},
            "categorical": {"encode": "embedding"},
            "datetime": {"parts": ["elapsed", "year", "weekday", "date"]},
            "numeric": {"scale": "quantile", "piecewise_bins": 4, "smooth_clip": 3.0},
        },
        "model": {"layers": [{"dense": 4}]},
    }  # fmt: skip
    check((config, 1, False, Decisions(coverage=0.9, half_widths={"number": 0.7}), 3))


@pytest.mark.parametrize("name", slow_except(["onnx", "numpy"], [*FORMATS]))
@pytest.mark.parametrize("encode", slow_except(["onehot"], ["onehot", "ordinal", "embedding"]))
def test_a_missing_category_that_training_did_not_have_is_not_rare(
    name: str, encode: str, tmp_path: Path
) -> None:
    write_table(tmp_path / "table.csv", table(np.random.default_rng(0)))
    categorical = {"encode": encode, "min_count": 2, "unknown": "rare", "target_mean": True}
    if encode == "embedding":
        del categorical["target_mean"]
    data = {
        "source": "table.csv",
        "target": "binary",
        "features": {"include": ["many", "large"]},
        "categorical": categorical,
    }
    run = write_run(tmp_path, {"data": data, "model": {"layers": []}})
    export = load_format(name)
    rows = pl.DataFrame({"many": ["level 1", None, "level 1000"], "large": ["1e5"] * 3})
    assert_agrees(export, run, rows, tmp_path / export.file_name)


@settings(max_examples=2, suppress_health_check=list(HealthCheck))
@given(cases())
def test_onnx_agrees_with_predict(case: Any) -> None:
    check(case)


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(cases())
def test_onnx_agrees_with_predict_for_many_configs(case: Any) -> None:
    check(case)
