"""Transformed targets: networks are trained on them, and results are in the unit of the target."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.pyplot import close, subplots
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from tests.workflows.conftest import evaluate_run, open_on_cpu, predict_table, run_fit, run_members
from trainer.config.load import load_config
from trainer.data.prepare import prepare
from trainer.report.page.content import Plot
from trainer.report.page.regression import regression_section
from trainer.report.page.run_content import read_run_content
from trainer.report.prediction_intervals import interval_widths
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.runs.log import read_log
from trainer.workflows.explanations.explain import explain
from trainer.workflows.reporting.findings import write_missing_findings

ROWS = 200


def write_prices(path: Path, zeros: bool = False, negative: bool = False) -> np.ndarray:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, ROWS))
    price = np.exp(8 + 1.5 * a - b + 0.3 * rng.normal(size=ROWS))
    if zeros:
        price[rng.random(ROWS) < 0.15] = 0
    if negative:
        price -= 3_000
    rent = price / 300 + 5
    pl.DataFrame({"a": a, "b": b, "price": price.round(2), "rent": rent}).write_csv(path)
    return price.round(2)


def config(folder: Path, target: str = "price", **more: str) -> Path:
    path = folder / "config.yaml"
    lines = {
        "data": f"{{source: prices.csv, target: {target}, features: {{include: [a, b]}}}}",
        "model": "{layers: [{dense: {units: 8, activation: relu}}]}",
        "optimizer": "{name: adam, learning_rate: 0.02}",
        "fit": "{epochs: 8, batch_size: 32}",
        "evaluate": "{report: false, resamples: 100}",
        **more,
    }
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path


def predictions_of(run: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(RunDirectory(run).read_predictions(f"{name}.parquet")))


@pytest.fixture(scope="module")
def scaled(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., tuple[Path, np.ndarray, Path]]:
    """Return the config, the prices and the run of a scale; tests may add findings to the run."""

    @cache
    def train(scale: str, *, zeros: bool = False, negative: bool = False):
        folder = tmp_path_factory.mktemp("scaled")
        price = write_prices(folder / "prices.csv", zeros, negative)
        path = config(folder)
        return path, price, run_fit(path, folder / "runs", f"data.target_scale={scale}").run

    return train


@pytest.mark.parametrize(
    ("scale", "table"),
    [
        ("log", {}),
        pytest.param("power", {}, marks=pytest.mark.slow),
        pytest.param("power", {"zeros": True}, marks=pytest.mark.slow),
        ("power", {"negative": True}),
    ],
)
def test_metrics_and_predictions_are_in_the_unit_of_the_target(
    scaled: Callable, scale: str, table: Any
) -> None:
    path, price, run = scaled(scale, **table)
    test = predictions_of(run, "test")
    p, y = test["predicted_price"].to_numpy(), price[test["row"].to_numpy()]
    np.testing.assert_array_equal(test["actual_price"].to_numpy(), y)
    metrics = read_json(run / "evaluation" / "test.json")["metrics"]
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(y, p))
    assert metrics["mae"] == pytest.approx(mean_absolute_error(y, p))
    assert metrics["r2"] == pytest.approx(r2_score(y, p))
    assert metrics["r2"] > 0.3
    assert read_log(run / "metrics.jsonl")[0]["loss"] < 20
    predictions = predict_table(run, path.parent / "prices.csv").frame
    low, middle, high = (
        predictions[f"predicted_price{end}"].to_numpy() for end in ("_low", "", "_high")
    )
    assert (low <= middle).all()
    assert (middle <= high).all()
    width = high - low
    assert np.corrcoef(np.abs(middle), width)[0, 1] > 0.5
    if scale == "log":
        assert (low > 0).all()
        np.testing.assert_allclose(high / middle, middle / low, rtol=1e-9)
    write_missing_findings(run)
    findings = read_json(run / "findings.json")["splits"]["test"]
    inside = ((low <= price) & (price <= high))[test["row"].to_numpy()]
    assert findings["interval_coverage"]["price"]["value"] == pytest.approx(inside.mean())
    worst = read_json(run / "findings.json")["worst_rows"][0]
    assert worst["actual"] == [price[worst["row"]]]
    train = prepare(load_config(path).config).samples("train")
    assert findings["prior"]["mae"] == pytest.approx(
        np.abs(y - price[train.rows].mean()).mean(), rel=1e-6
    )
    again = evaluate_run(run, "test")
    assert again.results[0].metrics == pytest.approx(metrics, rel=1e-6)


def test_linear_baseline_is_fitted_on_the_logarithm(scaled: Callable) -> None:
    path, price, run = scaled("log")
    dataset = prepare(load_config(path, ["data.target_scale=log"]).config)
    train, test = dataset.samples("train"), dataset.samples("test")
    scale = train.inputs["features"].std(axis=0)
    oracle = Ridge(alpha=1.0).fit(train.inputs["features"] / scale, np.log(price[train.rows]))
    write_missing_findings(run)
    frame = predictions_of(run, "test_linear")
    np.testing.assert_allclose(
        frame["predicted_price"].to_numpy(),
        np.exp(oracle.predict(test.inputs["features"] / scale)),
        rtol=0.02,
    )


def test_explanations_are_in_the_unit_of_the_target(scaled: Callable, tmp_path: Path) -> None:
    _, price, trained = scaled("log")
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    explain(
        open_on_cpu(run),
        split="test",
        repeats=2,
        columns=(),
        shap_rows=None,
    )
    curves = read_json(run / "explanation" / "partial_dependence.json")
    means = np.array(curves["columns"][0]["predictions"])
    assert price.min() / 2 < means.min() < means.max() < 2 * price.max()
    assert means.max() > 3 * means.min()


@pytest.mark.parametrize("scale", ["log", "power", "standard"])
def test_report_plots_the_intervals_of_predict(scaled: Callable, scale: str) -> None:
    path, _, done = scaled(scale, negative=scale == "power")
    predictions = predict_table(done, path.parent / "prices.csv").frame
    run = RunDirectory(done)
    decisions = read_decisions(run)
    width = interval_widths(run.read_preprocessing(), decisions)["price"]
    low, high = width.ends(predictions["predicted_price"].to_numpy())
    np.testing.assert_allclose(low, predictions["predicted_price_low"].to_numpy(), rtol=1e-9)
    np.testing.assert_allclose(high, predictions["predicted_price_high"].to_numpy(), rtol=1e-9)
    texts = {
        "log": "multiplied or divided by",
        "power": "on the power scale",
        "standard": "price ± ",
    }
    assert texts[scale] in decisions.summary()
    content = read_run_content(run, datetime.now(UTC))
    plots = [block for block in regression_section(content).blocks if isinstance(block, Plot)]
    assert str(width) in plots[0].description
    for plot in plots:
        figure, axes = subplots()
        plot.draw(axes)
        close(figure)


def test_streamed_target_is_scaled_like_a_resident_one(tmp_path: Path) -> None:
    write_prices(tmp_path / "prices.csv", zeros=True)
    loaded = load_config(config(tmp_path), ["data.target_scale=power"])
    resident, streamed = prepare(loaded.config), prepare(loaded.config, streamed=True)
    assert streamed.preprocessing.target == resident.preprocessing.target
    np.testing.assert_array_equal(streamed.samples("test").y, resident.samples("test").y)
    finished = run_fit(
        tmp_path / "config.yaml", tmp_path / "runs", "data.target_scale=power",
        "runtime.engine=streaming", "fit.epochs=1",
    )  # fmt: skip
    assert predictions_of(finished.run, "test").height == 40


@pytest.mark.slow
def test_each_target_column_is_scaled_separately_in_folds(tmp_path: Path) -> None:
    write_prices(tmp_path / "prices.csv")
    path = config(tmp_path, "[price, rent]")
    done = run_members(
        path, tmp_path / "runs", "data.target_scale={price: log}", "fit.folds=2", "fit.epochs=2"
    )
    predictions = predict_table(done.run, tmp_path / "prices.csv").frame
    assert (predictions["predicted_price_low"] > 0).all()
    assert (predictions["predicted_price"] > predictions["predicted_price_low"]).all()
    widths = (predictions["predicted_rent_high"] - predictions["predicted_rent_low"]).to_numpy()
    np.testing.assert_allclose(widths, widths[0], rtol=1e-9)
    target = read_json(done.members[0].run / "preprocessing.json")["target"]
    assert [item and item["kind"] for item in target["transforms"]] == ["log", None]
