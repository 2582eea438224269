"""The boosting baseline equals scikit-learn's, fitted directly on the same rows; its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from trainer.assessment import boosting_baseline, boosting_process
from trainer.assessment.boosting_baseline import (
    BoostingResult,
    estimated_seconds,
    fit_boosting_baseline,
)
from trainer.assessment.fold_baselines import FoldData
from trainer.config.load import load_config
from trainer.workflows.plan import RunPlan, make_plan

ROWS = 300
SETTINGS = {"max_iter": 20, "early_stopping": False, "random_state": 0}
OFF = "evaluate.baselines=[linear]"
FEATURES = ["size", "height", "color"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few rounds, on one thread: with more, scikit-learn's threads wait for each other."""
    monkeypatch.setattr(boosting_baseline, "ROUNDS", SETTINGS["max_iter"])
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """Targets of each task, with missing cells, a category and weights."""
    folder = tmp_path_factory.mktemp("boosting")
    rng = np.random.default_rng(3)
    size, height, noise = rng.normal(size=(3, ROWS))
    color = rng.choice(["red", "green", "blue"], ROWS)
    signal_ = size * (color == "red") + np.abs(height) + 0.3 * noise
    frame = pl.DataFrame(
        {
            "size": size,
            "height": height,
            "color": color,
            "share": rng.choice([0.0, 1.0, 3.0], ROWS),
            "number": 1e6 + 1e3 * signal_,
            "price": np.exp(signal_),
            "label": np.where(signal_ > 1, "yes", "no"),
            "level": np.array(["a", "b", "c"])[np.digitize(signal_, [0.5, 1.2])],
            "tall": (height > 0.5).astype(int),
            "big": (signal_ > 0.8).astype(int),
        }
    ).with_columns(
        pl.when(pl.int_range(ROWS) % 9 == 4).then(None).otherwise("size").alias("size"),
        pl.when(pl.int_range(ROWS) % 11 == 4).then(None).otherwise("color").alias("color"),
    )
    frame.write_parquet(folder / "table.parquet")
    return folder, frame


def planned(folder: Path, target: str, *overrides: str) -> RunPlan:
    text = (
        f"data: {{source: table.parquet, target: {target}, features: {{include: {FEATURES}}},"
        " split: {test: 0.3, validation: 0.1}}\nmodel: {layers: []}\n"
    )
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return make_plan(load_config(folder / "config.yaml", overrides))


def fitted(plan: RunPlan) -> BoostingResult:
    fold = FoldData(plan.dataset, plan.task)
    return fit_boosting_baseline(plan.config, [fold])


def matrices(plan: RunPlan, frame: pl.DataFrame) -> list[Any]:
    """Encode training and test rows without this package."""
    assignment = plan.dataset.assignment
    train, test = (frame[np.flatnonzero(assignment == code)] for code in (0, 2))
    encoder = OrdinalEncoder(encoded_missing_value=np.nan).fit(train.select("color").to_numpy())
    x = [
        np.column_stack(
            [
                part.select("size", "height").to_numpy().astype(float),
                encoder.transform(part.select("color").to_numpy()),
            ]
        )
        for part in (train, test)
    ]
    return [train, test, *x]


@pytest.fixture
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit in this process, which has imported scikit-learn."""

    class Process:
        def request(self, request: dict[str, Any]) -> dict[str, Any]:
            if "fit" in request:
                self.predict = boosting_process.fit(**request["fit"])
                return {}
            return {"predictions": self.predict(request["predict"])}

    @contextmanager
    def process() -> Iterator[Process]:
        yield Process()

    monkeypatch.setattr(boosting_baseline, "_process", process)


def test_classes_weights_and_threshold(table: tuple[Path, pl.DataFrame]) -> None:
    """In the process, which is that of a run."""
    folder, frame = table
    settings = ["data.weight=share", "fit.class_weight={no: 1, yes: 4}", "evaluate.threshold=f1"]
    plan = planned(folder, "label", *settings)
    result = fitted(plan)
    assert (result.note, result.warning) == ("", "")
    assert result.baseline is not None
    train, test, train_x, test_x = matrices(plan, frame)
    weight = train["share"].to_numpy() * np.where(train["label"] == "yes", 4, 1)
    model = HistGradientBoostingClassifier(categorical_features=[2], **SETTINGS)
    used = weight > 0
    model.fit(train_x[used], train["label"].to_numpy()[used], sample_weight=weight[used])
    predictions = result.baseline.predictions["test"]
    expected = model.predict_proba(test_x)[:, 1]
    np.testing.assert_allclose(predictions.p[:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(predictions.weight, test["share"])
    np.testing.assert_array_equal(predictions.y[:, 0], test["label"] == "yes")
    assert set(result.baseline.predictions) == {"validation", "test"}
    assert 0 < result.baseline.threshold != 0.5


@pytest.mark.usefixtures("_in_process")
def test_several_classes_of_a_stream(table: tuple[Path, pl.DataFrame]) -> None:
    folder, frame = table
    plan = planned(folder, "level", "runtime.engine=streaming")
    result = fitted(plan)
    assert result.baseline is not None
    train, _, train_x, test_x = matrices(plan, frame)
    model = HistGradientBoostingClassifier(categorical_features=[2], **SETTINGS)
    expected = model.fit(train_x, train["level"].to_numpy()).predict_proba(test_x)
    np.testing.assert_allclose(result.baseline.predictions["test"].p, expected, rtol=1e-5)


@pytest.mark.usefixtures("_in_process")
def test_several_labels(table: tuple[Path, pl.DataFrame]) -> None:
    folder, frame = table
    plan = planned(folder, "[tall, big]", "data.task=multilabel")
    result = fitted(plan)
    assert result.baseline is not None
    train, _, train_x, test_x = matrices(plan, frame)
    for column, name in enumerate(["tall", "big"]):
        model = HistGradientBoostingClassifier(categorical_features=[2], **SETTINGS)
        expected = model.fit(train_x, train[name].to_numpy()).predict_proba(test_x)[:, 1]
        p = result.baseline.predictions["test"].p[:, column]
        np.testing.assert_allclose(p, expected, rtol=1e-5)


@pytest.mark.usefixtures("_in_process")
@pytest.mark.parametrize("loss", ["mean_squared_error", "mean_absolute_error"])
def test_several_numbers(table: tuple[Path, pl.DataFrame], loss: str) -> None:
    """One is transformed, as for the network."""
    folder, frame = table
    scale = "data.target_scale={number: none, price: log}"
    plan = planned(folder, "[number, price]", scale, f"loss={loss}")
    result = fitted(plan)
    assert result.baseline is not None
    train, test, train_x, test_x = matrices(plan, frame)
    name = "squared_error" if loss == "mean_squared_error" else "absolute_error"
    predictions = result.baseline.predictions["test"]
    np.testing.assert_array_equal(predictions.y, test.select("number", "price").to_numpy())
    for column, y in enumerate([train["number"].to_numpy(), np.log(train["price"].to_numpy())]):
        model = HistGradientBoostingRegressor(name, categorical_features=[2], **SETTINGS)
        expected = model.fit(train_x, (y - y.mean()) / y.std()).predict(test_x)
        expected = expected * y.std() + y.mean()
        p = predictions.p[:, column]
        np.testing.assert_allclose(np.log(p) if column else p, expected, rtol=2e-4)


@pytest.mark.usefixtures("_in_process")
def test_folds(table: tuple[Path, pl.DataFrame]) -> None:
    """Validation rows are predicted out of fold; the predictions for test rows are averaged."""
    folder, _ = table
    plans = [
        planned(folder, "number", "data.split={test: 0.2}", f"data.split.fold={fold}/3")
        for fold in (1, 2)
    ]
    folds = [FoldData(plan.dataset, plan.task) for plan in plans]
    both = fit_boosting_baseline(plans[0].config, folds).baseline
    alone = [fitted(plan).baseline for plan in plans]
    assert both is not None
    assert alone[0] is not None
    assert alone[1] is not None
    parts = [baseline.predictions["test"].p for baseline in alone if baseline is not None]
    np.testing.assert_allclose(both.predictions["test"].p, np.mean(parts, axis=0))
    rows = np.concatenate([np.flatnonzero(plan.dataset.assignment == 1) for plan in plans])
    assert both.predictions["validation"].rows.tolist() == rows.tolist()


def models(rounds: int, learning_rate: float) -> dict[str, float]:
    return {"max_iter": rounds, "learning_rate": learning_rate}


def test_many_levels() -> None:
    """The most frequent levels are separate; scikit-learn accepts 255 categories."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(300.0), np.where(np.arange(300) % 2, 30, 20))
    x = rng.permutation(codes)[:, None]
    y = x % 2  # 1 for the frequent levels
    predict = boosting_process.fit(
        "numbers", x, y, None, np.array([True]), "squared_error", models(30, 0.3)
    )
    np.testing.assert_allclose(predict(x)[:, 0], y[:, 0], atol=0.02)
    unknown = predict(np.array([[np.nan], [1_000.0]]))
    assert np.isfinite(unknown).all()


@pytest.mark.parametrize(
    ("labels", "expected"), [(np.zeros(30), 0), (np.ones(30), 1)], ids=["none", "all"]
)
def test_label_of_no_row_or_all_rows(labels: Any, expected: int) -> None:
    x = np.arange(30.0)[:, None]
    predict = boosting_process.fit(
        "labels", x, labels[:, None], None, np.array([False]), "squared_error", models(5, 0.1)
    )
    assert predict(x).tolist() == [[expected]] * 30


def test_turned_off(table: tuple[Path, pl.DataFrame]) -> None:
    plan = planned(table[0], "number", OFF)
    assert fitted(plan) == BoostingResult()


@pytest.mark.parametrize("is_required", [True, False])
def test_not_installed(
    table: tuple[Path, pl.DataFrame], monkeypatch: pytest.MonkeyPatch, is_required: bool
) -> None:
    monkeypatch.setattr(boosting_baseline, "find_spec", lambda _: None)
    monkeypatch.setattr(boosting_baseline, "install_command", lambda extra: f"install {extra}")
    plan = planned(table[0], "number", *["evaluate.baselines=[boosting]"] * is_required)
    result = fitted(plan)
    text = (
        "No comparison with gradient boosting, as scikit-learn is not installed: install boosting"
    )
    if is_required:
        assert result == BoostingResult(warning=f"{text}; evaluate.baselines requires it.")
    else:
        assert result == BoostingResult(note=f"{text}.")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.stdin.buffer.read(1); sys.exit('no memory')", "no memory"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("raise SystemExit(3)", "exit code 3"),
        ("import time; time.sleep(60)", "ended by SIGKILL"),
    ],
)
def test_failing_process_is_a_warning(
    table: tuple[Path, pl.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    reason: str,
) -> None:
    (tmp_path / "script.py").write_text(script)
    monkeypatch.setattr(boosting_process, "__file__", str(tmp_path / "script.py"))
    monkeypatch.setattr(boosting_baseline, "KILLED_AFTER", 0.5)
    result = fitted(planned(table[0], "number"))
    assert result == BoostingResult(
        warning=f"No comparison with gradient boosting: its process failed ({reason})."
    )


def test_large_table_is_sampled(
    table: tuple[Path, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(table[0], "number")
    rows = plan.dataset.rows("train")
    fold = FoldData(plan.dataset, plan.task)
    assert boosting_baseline._plan(fold, 1)[0] == boosting_baseline._Plan(rows, 20)
    monkeypatch.setattr(boosting_baseline, "MAX_CELLS", 90)
    monkeypatch.setattr(boosting_baseline, "MAX_SECONDS", 0.01)
    limited, seconds = boosting_baseline._plan(fold, 1)
    assert limited.rows == 30
    assert limited.rounds == int(20 * 0.01 / seconds)
    assert limited.learning_rate == pytest.approx(min(0.3, 2 / limited.rounds))
    note = boosting_baseline._plan_note(limited, [fold])
    assert note == (
        f"Gradient boosting was fitted on a sample of 30 of {rows} training rows with "
        f"{limited.rounds} rounds instead of 20, to save time."
    )
    assert estimated_seconds(plan.config, fold, 1) == pytest.approx(1.51)
    assert estimated_seconds(planned(table[0], "number", OFF).config, fold, 1) == 0
    monkeypatch.setattr(boosting_baseline, "MAX_SECONDS", 1e-4)
    assert estimated_seconds(plan.config, fold, 1) == 0
    assert fitted(plan).note == (
        "No comparison with gradient boosting: for a table of this size it would take about 1 min."
    )


@pytest.mark.slow
def test_process_ends_when_its_parent_is_killed() -> None:
    """During a fit that takes seconds."""
    code = (
        "import numpy as np, threading\n"
        "from trainer.assessment.boosting_baseline import _process\n"
        "x = np.random.default_rng(0).normal(size=(20_000, 100))\n"
        "settings = dict(targets='numbers', x=x, y=x[:, :1], weight=None,\n"
        "    is_category=np.zeros(100, bool), loss='squared_error',\n"
        "    arguments={'max_iter': 100_000, 'learning_rate': 0.1})\n"
        "with _process() as process:\n"
        "    print(process.popen.pid, flush=True)\n"
        "    process.request({'fit': settings})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(2)
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
