"""The linear baseline equals a scikit-learn model fitted on the same columns and weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

from trainer.assessment import baselines
from trainer.assessment.linear_baseline import linear_predictions
from trainer.config.load import load_config
from trainer.metrics.predictions import Predictions
from trainer.workflows.plan import RunPlan, make_plan

FLIGHTS = """\
data:
  source: flights.csv
  target: arrival_delay
  numeric: {scale: robust, smooth_clip: 3.0}
  split: {test: 0.25, validation: 0.15}
model: {layers: [{dense: 4}]}
"""
RARE = """\
data: {source: rare.csv, target: label, split: {test: 0.3, validation: 0.1}}
model: {layers: [{dense: 4}]}
"""


def planned(folder: Path, text: str, *overrides: str) -> RunPlan:
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return make_plan(load_config(folder / "config.yaml", overrides))


def baseline(plan: RunPlan) -> Predictions:
    return linear_predictions(plan.config, plan.task, plan.dataset, ("test",))["test"]


def rows(plan: RunPlan, frame: pl.DataFrame, split: str) -> pl.DataFrame:
    number = ("train", "validation", "test").index(split)
    return frame[np.flatnonzero(plan.dataset.assignment == number)]


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """Delays with a heavy tail; a late arrival follows a late departure."""
    folder = tmp_path_factory.mktemp("flights")
    rng = np.random.default_rng(1)
    departure = 12 * rng.standard_t(1.7, 3_000) + rng.exponential(10, 3_000)
    frame = pl.DataFrame(
        {
            "departure_delay": departure.round(1),
            "distance": rng.lognormal(6.5, 0.6, 3_000).round(),
            "arrival_delay": (departure - 4 + rng.normal(0, 11, 3_000)).round(1),
        }
    )
    frame = frame.with_columns(
        pl.when(pl.int_range(3_000) % 50 == 7).then(None).otherwise("distance").alias("distance")
    )
    frame.write_csv(folder / "flights.csv")
    return folder, frame


@pytest.mark.parametrize("engine", ["resident", "streaming"])
@pytest.mark.parametrize(
    "scale",
    [
        "data.numeric.scale=robust",
        "data.numeric={scale: quantile, smooth_clip: null}",
        "data.columns.departure_delay={scale: quantile}",
        "data.numeric={scale: minmax, smooth_clip: 0.5}",
        "data.numeric={piecewise_bins: 8}",
    ],
)
def test_baseline_sees_columns_without_the_nonlinear_scaling_of_the_network(
    flights: tuple[Path, pl.DataFrame], scale: str, engine: str
) -> None:
    folder, frame = flights
    plan = planned(folder, FLIGHTS, scale, f"runtime.engine={engine}")
    predictions = baseline(plan)
    train, test = rows(plan, frame, "train"), rows(plan, frame, "test")
    names = ["departure_delay", "distance"]
    median = train["distance"].median()
    train_x, test_x = (
        part.select(names).with_columns(pl.col("distance").fill_null(median))
        for part in (train, test)
    )
    model = LinearRegression().fit(train_x.to_numpy(), train["arrival_delay"].to_numpy())
    y = test["arrival_delay"].to_numpy()
    expected = np.sqrt(np.mean((model.predict(test_x.to_numpy()) - y) ** 2))
    np.testing.assert_array_equal(predictions.y[:, 0], y)
    rmse = np.sqrt(np.mean((predictions.p - predictions.y) ** 2))
    assert rmse == pytest.approx(expected, rel=0.01)
    # The inputs of the network are still scaled.
    samples = plan.dataset.samples("test")
    assert samples is not None
    assert samples.inputs["features"].std(axis=0).max() < 3


def test_outliers_are_clipped_for_network_and_baseline(
    flights: tuple[Path, pl.DataFrame],
) -> None:
    folder, frame = flights
    outliers = "data.clean.outliers={method: iqr, action: clip}"
    plan = planned(folder, FLIGHTS, outliers, "data.features.include=[departure_delay]")
    train, test = rows(plan, frame, "train"), rows(plan, frame, "test")
    (column,) = plan.dataset.preprocessing.columns
    clip = pl.col("departure_delay").clip(column.outliers.lower, column.outliers.upper)
    model = LinearRegression().fit(train.select(clip).to_numpy(), train["arrival_delay"].to_numpy())
    expected = model.predict(test.select(clip).to_numpy())
    np.testing.assert_allclose(baseline(plan).p[:, 0], expected, atol=0.2)


@pytest.mark.parametrize("weights", ["balanced", "{no: 1, yes: 12}", None])
def test_class_weights_apply_to_network_and_baseline(
    tmp_path: Path, weights: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "TOLERANCE", 1e-6)
    rng = np.random.default_rng(2)
    size, height = rng.normal(size=(2, 900))
    frame = pl.DataFrame(
        {
            "size": size,
            "height": height,
            "share": rng.choice([1.0, 2.0], 900),
            "label": np.where(size + rng.normal(size=900) > 1.9, "yes", "no"),
        }
    )
    frame.write_csv(tmp_path / "rare.csv")
    settings = [] if weights is None else [f"fit.class_weight={weights}"]
    plan = planned(tmp_path, RARE, "data.weight=share", *settings)
    train, test = rows(plan, frame, "train"), rows(plan, frame, "test")
    by_class = {"balanced": "balanced", None: None}.get(weights, {"no": 1, "yes": 12})
    if by_class == "balanced":
        # Class weights count rows and ignore the weight column.
        share = train["label"].value_counts()
        by_class = {name: len(train) / (2 * count) for name, count in share.rows()}
    names = ["size", "height"]
    # Like the baseline, standardized with the row weights before the penalty applies.
    rows_weight = train["share"].to_numpy() * [
        1 if by_class is None else by_class[label] for label in train["label"]
    ]
    scaler = StandardScaler().fit(train.select(names).to_numpy(), sample_weight=rows_weight)
    model = LogisticRegression(tol=1e-8, max_iter=1_000).fit(
        scaler.transform(train.select(names).to_numpy()),
        train["label"].to_numpy(),
        sample_weight=rows_weight,
    )
    expected = model.predict_proba(scaler.transform(test.select(names).to_numpy()))[:, 1]
    np.testing.assert_allclose(baseline(plan).p[:, 0], expected, atol=2e-4)


def test_tokens_have_the_baseline_of_texts(tmp_path: Path) -> None:
    words = np.random.default_rng(0).choice(["good", "bad", "book", "the", "a"], (90, 5))
    frame = pl.DataFrame(
        {
            "review": [" ".join(row) for row in words],
            "x": np.arange(90) % 7,
            "y": [str("good" in row) for row in words],
        }
    )
    frame.write_csv(tmp_path / "texts.csv")
    data = "source: texts.csv, target: y, columns: {review: {kind: KIND}}"
    layers = "model: {layers: [{gru: 2}]}\n"
    tokens, texts = (
        baseline(planned(tmp_path, f"data: {{{data.replace('KIND', kind)}}}\n{more}"))
        for kind, more in (("tokens", layers), ("text", ""))
    )
    np.testing.assert_allclose(tokens.p, texts.p)
    assert tokens.p.std() > 0.1
