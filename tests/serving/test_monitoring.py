"""Bins and counts of served values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from tests.serving.files import ROW
from trainer.audit.stability import column_drift
from trainer.export.schema import Schema
from trainer.serving.monitoring import Monitor, fit_bins
from trainer.serving.monitoring_bins import SLOTS, ColumnBins, monitored_columns
from trainer.serving.onnx_model import Arrays, OnnxModel
from trainer.serving.settings import ModelSource, read_state, write_state

ROWS = 2_000


def make_rows(rows: int, shift: float = 0.0, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    age = rng.normal(40 + shift, 10, (rows, 1))
    age[::10] = np.nan
    colour = rng.choice(["red", "blue", ""], (rows, 1)).astype(object)
    return {"age": age, "colour": colour, "member": rng.integers(0, 2, (rows, 1)).astype(float)}


def fitted(model: OnnxModel) -> tuple[ColumnBins, ...]:
    training = make_rows(ROWS)
    return fit_bins(model.schema, training, model.predict(training, ROWS), rows=ROWS)


def open_model(file: Path) -> OnnxModel:
    return OnnxModel(ModelSource("churn", str(file)))


def test_bins_are_quantiles_and_levels(model_file: Path) -> None:
    age, colour, member, label, probability = fitted(open_model(model_file))
    assert age.edges is not None
    assert len(age.edges) == 9
    known = make_rows(ROWS)["age"]
    known = known[~np.isnan(known)]
    # Each bin holds a tenth of the known values, up to one row.
    counts = np.array(age.reference[:-1])
    assert np.abs(counts - len(known) / 10).max() <= 1
    assert age.reference[-1] == ROWS // 10
    np.testing.assert_allclose(
        age.edges, np.quantile(known, np.arange(1, 10) / 10, method="inverted_cdf")
    )
    assert set(colour.levels) == {"red", "blue"}
    assert colour.bins[-2:] == ("(other)", "(missing)")
    assert sum(colour.reference) == ROWS
    assert member.edges == (0.0,)
    assert set(label.levels) == {"no", "yes"}
    assert probability.name == "probability_yes"
    assert all(len(column.bins) <= SLOTS for column in (age, colour, member, label, probability))


def test_only_shifted_columns_have_drifted(model_file: Path) -> None:
    model = open_model(model_file)
    bins = fitted(model)
    for shift, expected in ((0.0, set()), (15.0, {"age"})):
        counters = np.zeros(SLOTS * len(bins), np.int64)
        monitor = Monitor(bins, counters)
        for seed in range(1, 30):
            rows = make_rows(50, shift, seed)
            monitor.add(rows, model.predict(rows, 50), 50)
        monitor.count()
        columns = list(monitored_columns(bins, counters))
        assert [sum(column.served) for column in columns] == [29 * 50] * len(columns)
        drifted = {
            column.name
            for column in columns
            if column.role == "input"
            and (drift := column_drift(column.reference, column.served, len(columns))) is not None
            and drift.has_drifted
        }
        assert drifted == expected


def test_few_rows_have_no_drift() -> None:
    assert column_drift([100, 100], [10, 0], 1) is None
    drift = column_drift([100, 100], [100, 0], 1)
    assert drift is not None
    assert drift.has_drifted


def test_state_keeps_bins(model_file: Path, tmp_path: Path) -> None:
    sources = (ModelSource("churn", str(model_file), "runs/a", fitted(open_model(model_file))),)
    write_state(tmp_path / "state.json", sources)
    assert read_state(str(tmp_path / "state.json")) == sources


def test_metrics_show_served_values(
    make_client: Callable[..., TestClient], model_file: Path
) -> None:
    bins = fitted(open_model(model_file))
    client = make_client(ModelSource("churn", str(model_file), "runs/a", bins))
    client.post("/predict", json=[{**ROW, "age": 300, "colour": "new"}] * 30)
    lines = client.get("/metrics").text.splitlines()
    labels = 'model="churn",column="colour",role="input"'
    assert f'trainer_monitored_values_total{{{labels},bin="(other)"}} 30' in lines
    index = next(line for line in lines if line.startswith(f"trainer_drift_index{{{labels}}}"))
    limit = next(line for line in lines if line.startswith(f"trainer_drift_limit{{{labels}}}"))
    assert float(index.rsplit(" ", 1)[1]) > float(limit.rsplit(" ", 1)[1])


def test_schema_of_the_test_model_is_complete(model_file: Path) -> None:
    schema = open_model(model_file).schema
    assert Schema.from_json(schema.to_json()) == schema
