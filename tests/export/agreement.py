"""The comparison of an export with `predict`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
from polars.testing import assert_frame_equal

import trainer
from tests.export.cases import ROWS
from trainer.export.bundle import load_bundle
from trainer.export.formats import ExportFormat
from trainer.export.onnx_export import OnnxFormat
from trainer.export.raw_schema import raw_schema
from trainer.export.rows import RowEncoder, predictions_frame
from trainer.export.schema import read_metadata


def assert_agrees(export: ExportFormat, run: Path, rows: pl.DataFrame, path: Path) -> None:
    """Write an export, and compare it with `predict`, column by column."""
    bundle = load_bundle(run)
    assert export.problems(bundle) == []
    schema = export.schema(bundle)
    export.write(bundle, schema, path)
    if any(field.kind == "encoded" for field in schema.inputs):
        inputs = export.encode(bundle, schema, rows, {})
    else:
        inputs = RowEncoder(schema).encode(rows)
    outputs = export.load(path)(inputs)
    found = predictions_frame(raw_schema(bundle), export.decode(bundle, schema, outputs))
    expected = trainer.load(run, device="cpu").predict(rows).drop("row")
    assert found.columns == expected.columns
    numbers = [name for name in expected.columns if expected.schema[name].is_float()]
    for name in numbers:
        a, b = expected[name].to_numpy(), found[name].to_numpy()
        assert a.dtype == b.dtype, name
        scale = 1.0 if schema.classes or "label" in name else np.maximum(np.std(a), np.abs(a))
        difference = np.abs(a - b) / scale
        np.testing.assert_array_less(difference[:ROWS], 1e-5, name)
        # Extreme values that are not scaled have few digits in float32.
        np.testing.assert_array_less(difference, 1e-4, name)
    others = [name for name in expected.columns if name not in numbers]
    assert_frame_equal(found.select(others), expected.select(others), check_dtypes=False)


def assert_onnx_agrees(run: Path, rows: pl.DataFrame, folder: Path) -> None:
    """Compare an ONNX export with `predict`, and check its schema."""
    export, path = OnnxFormat(), folder / "model.onnx"
    assert_agrees(export, run, rows, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    schema = read_metadata(session.get_modelmeta().custom_metadata_map)
    assert schema == export.schema(load_bundle(run))
