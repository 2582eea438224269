"""A run from config to evaluation leaves what the design says, and repeats itself."""

import json
import subprocess
import sys

import keras
import numpy as np
import polars as pl
import pytest

from tests.workflows.conftest import run_fit, write_table
from trainer.config.load import load_config
from trainer.errors import ConfigError, DivergedError
from trainer.runs.checkpoints import read_checkpoint
from trainer.workflows.fit import fit_run
from trainer.workflows.training import RunFinished, RunStarted


def test_the_run_directory_is_complete(finished):
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
    log = [json.loads(line) for line in (finished.run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2, 3, 4]
    best = min(log, key=lambda line: line["val_loss"])
    assert finished.best_epoch == best["epoch"]
    evaluation = json.loads((finished.run / "evaluation" / "validation.json").read_text())
    assert evaluation["metrics"]["loss"] == pytest.approx(best["val_loss"], rel=1e-6)
    assert evaluation["metrics"]["accuracy"] == pytest.approx(best["val_accuracy"])
    splits = pl.read_parquet(finished.run / "splits.parquet")
    assert splits["row"].to_list() == list(range(120))


def test_the_same_config_gives_the_same_weights(small, tmp_path):
    first = run_fit(small, tmp_path / "runs")
    again = run_fit(small, tmp_path / "runs")
    from_the_run = run_fit(first.run / "config.yaml", tmp_path / "runs")
    other_seed = run_fit(small, tmp_path / "runs", "seed=4")
    assert first.weights_sha256 == again.weights_sha256 == from_the_run.weights_sha256
    assert first.metrics == again.metrics == from_the_run.metrics
    assert other_seed.weights_sha256 != first.weights_sha256
    assert len({run.run for run in (first, again, from_the_run)}) == 3


def test_test_rows_have_no_part_in_training(small, tmp_path):
    before = run_fit(small, tmp_path / "runs")
    table = pl.read_csv(tmp_path / "small.csv", infer_schema=False)
    splits = pl.read_parquet(before.run / "splits.parquet")["split"]
    changed = table.with_columns(
        size=pl.when(splits == "test").then(pl.lit("1e30")).otherwise(pl.col("size")),
        colour=pl.when(splits == "test").then(pl.lit("never seen")).otherwise(pl.col("colour")),
    )
    changed.write_csv(tmp_path / "small.csv")
    after = run_fit(small, tmp_path / "runs")
    assert after.weights_sha256 == before.weights_sha256
    assert after.metrics["validation"] == before.metrics["validation"]
    assert after.metrics["test"] != before.metrics["test"]
    fitted = [(run.run / "preprocessing.json").read_bytes() for run in (before, after)]
    assert fitted[0] == fitted[1]


def test_plain_keras_opens_the_model(finished, tmp_path):
    script = (
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "x = np.load(sys.argv[2]); np.save(sys.argv[3], model.predict(x, verbose=0))\n"
        "assert not any(name.startswith('trainer') for name in sys.modules)\n"
    )
    from trainer.workflows.trained_runs import load_network, open_trained

    opened = open_trained(finished.run)
    x = np.random.default_rng(0).normal(size=(9, opened.preprocessing.width)).astype(np.float32)
    x[:, -1] = np.arange(9) % 3
    np.save(tmp_path / "x.npy", x)
    model = finished.run / "checkpoints" / "best" / "model.keras"
    words = [str(model), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    subprocess.run([sys.executable, "-c", script, *words], check=True, capture_output=True)
    expected = load_network(opened, allow_custom=False)(x)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-5, atol=1e-6)


def test_a_compiled_run_leaves_the_same_kind_of_model(small, tmp_path):
    done = run_fit(small, tmp_path / "runs", "~fit.epochs", "fit.steps=8000", "fit.batch_size=36")
    assert json.loads((done.run / "manifest.json").read_text())["engine"] == "resident, XLA"
    model = keras.saving.load_model(done.run / "checkpoints" / "best" / "model.keras")
    assert [type(layer) for layer in model.layers][2] is keras.layers.Dropout
    again = run_fit(small, tmp_path / "runs", "~fit.epochs", "fit.steps=8000", "fit.batch_size=36")
    assert again.weights_sha256 == done.weights_sha256


def test_best_and_last_are_what_they_say(finished):
    best = read_checkpoint(finished.run / "checkpoints" / "best")
    last = read_checkpoint(finished.run / "checkpoints" / "last")
    assert best.metadata["epoch"] == finished.best_epoch
    assert best.metadata["weights_sha256"] == finished.weights_sha256
    assert last.metadata["epoch"] == finished.epochs
    assert any("momentum" in name for name in last.state)
    assert any("seed_generator" in name for name in last.state)


def test_steps_in_place_of_epochs(small, tmp_path):
    done = run_fit(small, tmp_path / "runs", "~fit.epochs", "fit.steps=7")
    log = (done.run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [5, 7]


def test_early_stopping_ends_and_restores(small, tmp_path):
    settings = ("fit.epochs=200", "fit.early_stopping.patience=3", "optimizer.learning_rate=0.3")
    done = run_fit(small, tmp_path / "runs", *settings)
    assert done.epochs < 200
    assert done.best_epoch == done.epochs - 3
    assert "val_loss has not improved for 3 epochs" in done.stopped_because
    keeps = run_fit(small, tmp_path / "runs", *settings, "fit.early_stopping.restore_best=false")
    assert keeps.best_epoch == keeps.epochs == done.epochs
    assert keeps.weights_sha256 != done.weights_sha256


def test_plateau_lowers_the_learning_rate(small, tmp_path):
    done = run_fit(
        small,
        tmp_path / "runs",
        "fit.epochs=30",
        "optimizer.learning_rate=0.3",
        "fit.reduce_on_plateau={patience: 2, factor: 0.1}",
    )
    rates = [
        json.loads(line)["learning_rate"]
        for line in (done.run / "metrics.jsonl").read_text().splitlines()
    ]
    assert rates[0] == pytest.approx(0.3)
    assert rates[-1] < 0.1


def test_warm_start_takes_what_fits(small, tmp_path):
    first = run_fit(small, tmp_path / "runs")
    config = load_config(
        small,
        [f"fit.warm_start={first.run}", "optimizer.learning_rate=1e-9", "fit.epochs=1",
         "model.layers.3={dense: 5}"],
    )  # fmt: skip
    events = list(
        fit_run(
            config,
            runs=tmp_path / "runs",
            command=(),
            allow_custom=False,
            interrupted=lambda: None,
        )
    )
    started = events[0]
    assert isinstance(started, RunStarted)
    words = " | ".join(started.notes)
    assert "dense: copied" in words
    assert "dense_1: not copied" in words
    assert "head: not copied" in words


def test_an_interrupted_run_keeps_its_last_state(small, tmp_path):
    asked = iter([None, "stopped by Ctrl-C"])
    events = list(
        fit_run(
            load_config(small),
            runs=tmp_path / "runs",
            command=(),
            allow_custom=False,
            interrupted=lambda: next(asked),
        )
    )
    done = events[-1]
    assert isinstance(done, RunFinished)
    assert (done.status, done.epochs, done.metrics) == ("stopped", 2, {})
    manifest = json.loads((done.run / "manifest.json").read_text())
    assert (manifest["status"], manifest["stopped_because"]) == ("stopped", "stopped by Ctrl-C")
    assert read_checkpoint(done.run / "checkpoints" / "last").metadata["epoch"] == 2


def test_a_diverged_run_says_so(small, tmp_path):
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
    facts = json.loads(manifest.read_text())
    assert facts["status"] == "failed"
    assert facts["problems"][0]["expected"] == "a finite loss"


TASKS = {
    "multiclass": ("data.target=colour", "data.clean.missing_target=drop"),
    "softmax of two": ("model.head=softmax",),
    "regression": ("data.target=size", "fit.class_weight=null"),
    "several numbers": ("data.target=[size, age]",),
    "multilabel": ("data.target=[label, member]",),
    "numbers in [0, 1]": ("data.target=share", "model.head=sigmoid", "loss=mean_squared_error"),
    "class weights": ("fit.class_weight=balanced",),
    "row weights": ("data.weight=age",),
    "average": ("optimizer.ema=0.9",),
    "half precision": ("runtime.precision=mixed_float16",),
    "bfloat": ("runtime.precision=mixed_bfloat16",),
    "one batch": ("fit.batch_size=100000",),
    "no hidden layer": ("model.layers=[]",),
    "smoothing": ("loss={name: binary_crossentropy, label_smoothing: 0.1}",),
}


@pytest.mark.parametrize("case", TASKS)
def test_every_task_trains_evaluates_and_predicts(case, small, tmp_path):
    write_table(tmp_path / "small.csv")
    table = pl.read_csv(tmp_path / "small.csv", infer_schema=False)
    draw = np.random.default_rng(1)
    table = table.with_columns(
        age=pl.Series(draw.integers(20, 70, 120)),
        member=pl.Series(["yes" if one else "no" for one in draw.integers(0, 2, 120)]),
        share=pl.Series(draw.random(120)),
    )
    table.write_csv(tmp_path / "small.csv")
    done = run_fit(small, tmp_path / "runs", "fit.epochs=2", *TASKS[case])
    assert set(done.metrics) == {"train", "validation", "test"}
    for measures in done.metrics.values():
        assert np.isfinite(measures["loss"])
    from trainer.workflows.evaluate import evaluate
    from trainer.workflows.predict import predict

    found = evaluate(
        done.run, splits=("validation", "test"), data=None, device="cpu", allow_custom=False
    ).results
    for one in found:
        assert one.metrics == pytest.approx(done.metrics[one.split], rel=1e-5, nan_ok=True)
    frame = predict(
        done.run, tmp_path / "small.csv", keep=("id",), device="cpu", allow_custom=False
    ).frame
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


def fit_with(config, runs, override, *, allow_custom):
    events = fit_run(
        load_config(config, [override]),
        runs=runs,
        command=(),
        allow_custom=allow_custom,
        interrupted=lambda: None,
    )
    return list(events)[-1]


def test_callbacks_of_the_users_own_are_called(small, tmp_path):
    (tmp_path / "my_callbacks.py").write_text(CALLBACKS)
    seen = tmp_path / "seen.txt"
    count = f"{{function: 'my_callbacks:count', arguments: {{path: '{seen}'}}}}"
    override = f"fit.callbacks=[{{custom: {count}}}]"
    done = fit_with(small, tmp_path / "runs", override, allow_custom=True)
    assert seen.read_text().splitlines() == [f"{epoch} True" for epoch in range(4)]
    plain = run_fit(small, tmp_path / "runs")
    assert done.weights_sha256 == plain.weights_sha256
    with pytest.raises(ConfigError, match="allow-custom"):
        fit_with(small, tmp_path / "runs", override, allow_custom=False)
    override = "fit.callbacks=[{custom: 'my_callbacks:by_batch'}]"
    with pytest.raises(ConfigError, match=r"on_batch_end.*on_epoch_end"):
        fit_with(small, tmp_path / "runs", override, allow_custom=True)
