"""One run from config to evaluation: its files, its reproducibility, its options."""

import json
import subprocess
import sys

import keras
import numpy as np
import polars as pl
import pytest

from tests.workflows.conftest import evaluate_run, predict_table, run_fit
from trainer.config.load import load_config
from trainer.data.preprocessing import Preprocessing
from trainer.errors import ConfigError, DivergedError
from trainer.inputs import keras_inputs
from trainer.models.weights import weights_sha256
from trainer.prediction.trained_runs import load_network, open_trained
from trainer.runs.checkpoints import read_checkpoint
from trainer.workflows.building import build_training
from trainer.workflows.events import RunFinished
from trainer.workflows.fit import fit_run
from trainer.workflows.plan import make_plan
from trainer.workflows.session import Session


def read_log(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_run_directory(finished):
    names = {str(path.relative_to(finished.run)) for path in finished.run.rglob("*")}
    assert names == {
        "config.yaml",
        "manifest.json",
        "preprocessing.json",
        "splits.parquet",
        "metrics.jsonl",
        "timing.jsonl",
        "checkpoints",
        *(
            f"checkpoints/{name}{file}"
            for name in ("best", "last", "last-1")
            for file in ("", "/model.keras", "/state.npz", "/checkpoint.json")
        ),
        "evaluation",
        "evaluation/train.json",
        "evaluation/validation.json",
        "evaluation/test.json",
        "decisions.json",
        "predictions",
        "predictions/train.parquet",
        "predictions/validation.parquet",
        "predictions/test.parquet",
    }
    manifest = json.loads((finished.run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["splits"] == {"train": 72, "validation": 24, "test": 24}
    assert manifest["weights_sha256"] == finished.weights_sha256
    assert set(manifest["timings"]) == {
        "read", "import", "encode", "build", "trace", "compile", "train", "evaluate", "report",
        "write",
    }  # fmt: skip
    assert all(seconds >= 0 for seconds in manifest["timings"].values())
    log = read_log(finished.run)
    assert [line["epoch"] for line in log] == [1, 2, 3, 4]
    best = min(log, key=lambda line: line["val_loss"])
    assert finished.best_epoch == best["epoch"]
    evaluation = json.loads((finished.run / "evaluation" / "validation.json").read_text())
    assert evaluation["metrics"]["loss"] == pytest.approx(best["val_loss"], rel=1e-6)
    assert evaluation["metrics"]["accuracy"] == pytest.approx(best["val_accuracy"])
    splits = pl.read_parquet(finished.run / "splits.parquet")
    assert splits["row"].to_list() == list(range(120))


def test_each_split_is_encoded_once(small, tmp_path, monkeypatch):
    # The linear baseline shares the rows: this table is scaled linearly for the network too.
    calls = []
    transform = Preprocessing.transform

    def counted(*arguments):
        calls.append(None)
        return transform(*arguments)

    monkeypatch.setattr(Preprocessing, "transform", counted)
    run_fit(small, tmp_path, "evaluate.report=true", "fit.class_weight=balanced")
    assert len(calls) == 3


def test_training_is_reproducible(finished, trained, tmp_path):
    again = run_fit(finished.run / "config.yaml", tmp_path / "runs")
    assert again.weights_sha256 == finished.weights_sha256
    assert again.metrics == finished.metrics
    assert again.run != finished.run
    assert trained("seed=4").weights_sha256 != finished.weights_sha256


def test_test_rows_do_not_affect_training(finished, small, tmp_path):
    before = finished
    table = pl.read_csv(tmp_path / "small.csv", infer_schema=False)
    splits = pl.read_parquet(before.run / "splits.parquet")["split"]
    changed = table.with_columns(
        size=pl.when(splits == "test").then(pl.lit("1e30")).otherwise(pl.col("size")),
        color=pl.when(splits == "test").then(pl.lit("never seen")).otherwise(pl.col("color")),
    )
    changed.write_csv(tmp_path / "small.csv")
    after = run_fit(small, tmp_path / "runs")
    assert after.weights_sha256 == before.weights_sha256
    assert after.metrics["validation"] == before.metrics["validation"]
    assert after.metrics["test"] != before.metrics["test"]
    fitted = [(run.run / "preprocessing.json").read_bytes() for run in (before, after)]
    assert fitted[0] == fitted[1]


@pytest.mark.slow
def test_plain_keras_loads_the_model(finished, trained, tmp_path):
    script = (
        "import sys, keras, numpy as np\n"
        "for model, x, y in zip(*[iter(sys.argv[1:])] * 3):\n"
        "    model = keras.saving.load_model(model, safe_mode=True)\n"
        "    x = dict(np.load(x))\n"
        "    x = x if len(x) > 1 else x['features']\n"
        "    np.save(y, model.predict(x, verbose=0))\n"
        "assert not any(name.startswith('trainer') for name in sys.modules)\n"
    )
    arguments, expected = [], {}
    runs = {"onehot": finished.run, "embedding": trained("data.categorical.encode=embedding").run}
    for encoding, run in runs.items():
        opened = open_trained(run)
        inputs = {
            spec.name: np.random.default_rng(0).normal(size=(9, *spec.shape)).astype(spec.dtype)
            for spec in opened.preprocessing.inputs
        }
        if encoding == "embedding":
            inputs["categories"][:, 0] = np.arange(9) % 3
        np.savez(tmp_path / f"x-{encoding}.npz", **inputs)
        output = tmp_path / f"y-{encoding}.npy"
        expected[output] = load_network(opened, allow_custom=False)(keras_inputs(inputs))
        model = run / "checkpoints" / "best" / "model.keras"
        arguments += [str(model), str(tmp_path / f"x-{encoding}.npz"), str(output)]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True)
    for output, values in expected.items():
        np.testing.assert_allclose(np.load(output), values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("steps", "gpu", "compiled"),
    [(8000, False, True), (2000, False, False), (2000, True, True), (80, True, False)],
)
def test_long_training_is_compiled(small, monkeypatch, steps, gpu, compiled):
    monkeypatch.setattr("trainer.workflows.compilation.uses_gpu", lambda: gpu)
    overrides = ("~fit.epochs", f"fit.steps={steps}", "fit.batch_size=36")
    setup = build_training(make_plan(load_config(small, overrides)), allow_custom=False)
    assert setup.execution.compiled is compiled


CONVOLUTION = (
    "model.layers=[{reshape: [-1, 1]}, "
    "{residual: {layers: [{conv1d: {filters: 2, padding: same}}]}}, flatten]"
)


@pytest.mark.parametrize("gpu", [False, True])
def test_convolutions_are_compiled_on_a_gpu_only(small, monkeypatch, gpu):
    monkeypatch.setattr("trainer.workflows.compilation.uses_gpu", lambda: gpu)
    overrides = ("~fit.epochs", "fit.steps=8000", "fit.batch_size=36", CONVOLUTION)
    setup = build_training(make_plan(load_config(small, overrides)), allow_custom=False)
    assert setup.execution.compiled is gpu
    assert setup.execution.epochs_per_execution == 1


def test_network_with_convolutions_is_trained_saved_and_evaluated(small, tmp_path):
    result = run_fit(small, tmp_path / "runs", CONVOLUTION, "fit.epochs=2")
    assert json.loads((result.run / "manifest.json").read_text())["engine"] == "resident"
    model = keras.saving.load_model(result.run / "checkpoints" / "best" / "model.keras")
    assert model.get_layer("residual").get_layer("residual_conv1d").filters == 2
    assert weights_sha256(model) == result.weights_sha256


@pytest.mark.slow
def test_compiled_run(small, tmp_path):
    result = run_fit(small, tmp_path / "runs", "runtime.jit_compile=true", "fit.batch_size=36")
    assert json.loads((result.run / "manifest.json").read_text())["engine"] == "resident, XLA"
    model = keras.saving.load_model(result.run / "checkpoints" / "best" / "model.keras")
    assert [type(layer) for layer in model.layers][2] is keras.layers.Dropout


def test_best_and_last_checkpoint(finished):
    best = read_checkpoint(finished.run / "checkpoints" / "best")
    last = read_checkpoint(finished.run / "checkpoints" / "last")
    assert best.metadata["epoch"] == finished.best_epoch
    assert best.metadata["weights_sha256"] == finished.weights_sha256
    assert last.metadata["epoch"] == finished.epochs
    assert any("momentum" in name for name in last.state)
    assert any("seed_generator" in name for name in last.state)


@pytest.mark.slow
def test_early_stopping(small, tmp_path):
    settings = ("fit.epochs=200", "fit.early_stopping.patience=3", "optimizer.learning_rate=0.3")
    done = run_fit(small, tmp_path / "runs", *settings)
    assert done.epochs < 200
    assert done.best_epoch == done.epochs - 3
    assert "val_loss has not improved for 3 epochs" in done.stopped_because
    keeps = run_fit(small, tmp_path / "runs", *settings, "fit.early_stopping.restore_best=false")
    assert keeps.best_epoch == keeps.epochs == done.epochs
    assert keeps.weights_sha256 != done.weights_sha256


@pytest.mark.slow
def test_reduce_on_plateau(small, tmp_path):
    done = run_fit(
        small,
        tmp_path / "runs",
        "fit.epochs=30",
        "optimizer.learning_rate=0.3",
        "fit.reduce_on_plateau={patience: 2, factor: 0.1}",
    )
    rates = [line["learning_rate"] for line in read_log(done.run)]
    assert rates[0] == pytest.approx(0.3)
    assert rates[-1] < 0.1


@pytest.mark.slow
def test_interrupted_run_keeps_its_last_checkpoint(small, tmp_path):
    reasons = iter([None, "stopped by Ctrl-C"])
    session = Session(interrupted=lambda: next(reasons))
    *_, done = fit_run(load_config(small), session, tmp_path / "runs")
    assert isinstance(done, RunFinished)
    assert (done.status, done.epochs, done.metrics) == ("stopped", 2, {})
    manifest = json.loads((done.run / "manifest.json").read_text())
    assert (manifest["status"], manifest["stopped_because"]) == ("stopped", "stopped by Ctrl-C")
    assert read_checkpoint(done.run / "checkpoints" / "last").metadata["epoch"] == 2


def test_diverged_run_fails(small, tmp_path):
    with pytest.raises(DivergedError, match="learning_rate"):
        run_fit(
            small,
            tmp_path / "runs",
            "optimizer={name: sgd, learning_rate: 1e30}",
            "loss=mean_absolute_error",
            "data.target=size",
            "model.layers=[{dense: 4}]",
        )
    (manifest,) = (tmp_path / "runs").rglob("manifest.json")
    content = json.loads(manifest.read_text())
    assert content["status"] == "failed"
    assert content["problems"][0]["expected"] == "a finite loss"


QUICK_TASKS = {
    "multiclass, class weights, row weights, averages": (
        "data.target=color", "data.clean.missing_target=drop", "fit.class_weight=balanced",
        "data.weight=age", "optimizer.ema=0.9",
    ),
    "binary, softmax, label smoothing, half precision": (
        "model.head=softmax", "loss={name: categorical_crossentropy, label_smoothing: 0.1}",
        "runtime.precision=mixed_float16",
    ),
    "regression in [0, 1], no hidden layer, one batch": (
        "data.target=share", "model.head=sigmoid", "loss=mean_squared_error", "model.layers=[]",
        "fit.batch_size=100000",
    ),
}  # fmt: skip
SLOW_TASKS = {
    "multilabel": ("data.target=[label, member]",),
    "two regression targets": ("data.target=[size, age]",),
    "multiclass": ("data.target=color", "data.clean.missing_target=drop"),
    "binary, softmax": ("model.head=softmax",),
    "regression": ("data.target=size",),
    "regression in [0, 1]": ("data.target=share", "model.head=sigmoid", "loss=mean_squared_error"),
    "class weights": ("fit.class_weight=balanced",),
    "row weights": ("data.weight=age",),
    "averages": ("optimizer.ema=0.9",),
    "float16": ("runtime.precision=mixed_float16",),
    "bfloat16": ("runtime.precision=mixed_bfloat16",),
    "one batch": ("fit.batch_size=100000",),
    "no hidden layer": ("model.layers=[]",),
    "label smoothing": ("loss={name: binary_crossentropy, label_smoothing: 0.1}",),
}


@pytest.mark.parametrize(
    "overrides",
    [
        *(pytest.param(overrides, id=name) for name, overrides in QUICK_TASKS.items()),
        *(
            pytest.param(overrides, id=name, marks=pytest.mark.slow)
            for name, overrides in SLOW_TASKS.items()
        ),
    ],
)
def test_each_task_trains_evaluates_and_predicts(overrides, small, tmp_path):
    table = pl.read_csv(tmp_path / "small.csv", infer_schema=False)
    rng = np.random.default_rng(1)
    table = table.with_columns(
        age=pl.Series(rng.integers(20, 70, 120)),
        member=pl.Series(rng.choice(["yes", "no"], 120)),
        share=pl.Series(rng.random(120)),
    )
    table.write_csv(tmp_path / "small.csv")
    result = run_fit(small, tmp_path / "runs", "fit.epochs=2", *overrides)
    assert set(result.metrics) == {"train", "validation", "test"}
    for metrics in result.metrics.values():
        assert np.isfinite(metrics["loss"])
    for evaluation in evaluate_run(result.run, "validation", "test").results:
        expected = result.metrics[evaluation.split]
        assert evaluation.metrics == pytest.approx(expected, rel=1e-5, nan_ok=True)
    frame = predict_table(result.run, tmp_path / "small.csv", "id").frame
    assert frame.height == 120
    assert frame["id"].to_list() == table["id"].to_list()


CALLBACKS = """\
import keras

class Count(keras.callbacks.Callback):
    def __init__(self, path):
        super().__init__()
        self.path = path
    def on_epoch_end(self, epoch, logs=None):
        with open(self.path, "a") as file:
            file.write(f"{epoch} {'val_loss' in logs}\\n")

class ByBatch(keras.callbacks.Callback):
    def on_batch_end(self, batch, logs=None):
        pass

def count(path):
    return Count(path)

def by_batch():
    return ByBatch()
"""


def test_custom_callbacks(finished, small, tmp_path):
    (tmp_path / "my_callbacks.py").write_text(CALLBACKS)
    seen = tmp_path / "seen.txt"
    count = f"{{function: 'my_callbacks:count', arguments: {{path: '{seen}'}}}}"
    override = f"fit.callbacks=[{{custom: {count}}}]"
    result = run_fit(small, tmp_path / "runs", override, allow_custom=True)
    assert seen.read_text().splitlines() == [f"{epoch} True" for epoch in range(4)]
    assert result.weights_sha256 == finished.weights_sha256
    with pytest.raises(ConfigError, match="allow-custom"):
        run_fit(small, tmp_path / "runs", override)
    override = "fit.callbacks=[{custom: 'my_callbacks:by_batch'}]"
    with pytest.raises(ConfigError, match=r"on_batch_end.*on_epoch_end"):
        run_fit(small, tmp_path / "runs", override, allow_custom=True)
