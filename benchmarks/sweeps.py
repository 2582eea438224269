"""Measure the time of training many networks: a sweep, folds and repeats, and a search.

    python -m benchmarks.sweeps [--networks 64] [--trials 200]

Prints a JSON object with times of whole processes in seconds:

- learning_rates: `trainer sweep` over learning rates of W1's network, 10 epochs; the same number of
  networks with the Keras script and with `trainer fit` in a shell loop, and with one `trainer fit` of as
  many configs. Of these, a sample is run alternately with the sweep and extrapolated.
- folds: breast_cancer.yaml with 5 folds × 4 repeats, and as a single network.
- search: configs/credit_sweep.yaml; the best trial's ROC AUC on the test rows, and that of
  scikit-learn's gradient boosting with default settings on the same rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.run import WITHOUT_OTHERS

ROUNDS = 3
SAMPLE = 4
EPOCHS = 10
CONFIG = """
name: sweep
data: {source: table.csv, target: y, task: binary, split: {test: 0.0, validation: 0.2, by: random},
  numeric: {scale: none}}
model: {layers: [dense: {units: 64, activation: relu}, dense: {units: 64, activation: relu}]}
optimizer: {name: adam, learning_rate: 1e-3}
metrics: [accuracy]
fit: {epochs: 10, batch_size: 32}
"""
BOOSTING = """
import json, sys
import numpy as np, polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OrdinalEncoder
table, splits = pl.read_csv(sys.argv[1]), pl.read_parquet(sys.argv[2])
y = (table["Status"] == "bad").to_numpy()
features = table.drop("Status")
columns, kinds = [], []
for series in features:
    words = series.dtype == pl.String
    kinds.append(words)
    values = OrdinalEncoder().fit_transform(series.fill_null("").to_numpy().reshape(-1, 1)) if words \\
        else series.cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(-1, 1)
    columns.append(values)
x = np.hstack(columns)
part = splits["split"].cast(pl.String).to_numpy()
train, test = np.isin(part, ["train", "validation"]), part == "test"
model = HistGradientBoostingClassifier(categorical_features=kinds, random_state=0)
model.fit(x[train], y[train])
print(json.dumps(roc_auc_score(y[test], model.predict_proba(x[test])[:, 1])))
"""


def trainer(folder: Path, *arguments: str | Path) -> processes.Ended:
    return processes.run(
        [processes.OURS / "trainer", *arguments], {"XDG_CACHE_HOME": str(folder / "cache")}
    )


def learning_rates(folder: Path, networks: int) -> dict[str, Any]:
    """Return the medians of a sweep and of its alternatives."""
    table = folder / "table.csv"
    processes.run([processes.OURS / "python", "-m", "benchmarks.tables", table, "20000", "10", "2"])
    config = folder / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    script = processes.ROOT / "benchmarks" / "keras_script.py"
    times: dict[str, list[float]] = {
        name: [] for name in ("sweep", "keras_script", "trainer_fit", "one_process", "one_fit")
    }
    copies = [folder / f"config-{number}.yaml" for number in range(SAMPLE + 1)]
    for number, copy in enumerate(copies):
        copy.write_text(f"{CONFIG}seed: {number}\n", encoding="utf-8")
    for _ in range(ROUNDS):
        swept = trainer(
            folder, "sweep", config, "optimizer.learning_rate=log(1e-4, 1e-1)", "seed=int(0, 999)",
            "--trials", str(networks), "--sweeps", folder / "sweeps", "--quiet",
        )  # fmt: skip
        times["sweep"].append(swept.seconds)
        python = processes.PEERS / "python"
        command = (python, "-c", WITHOUT_OTHERS, script, table, str(EPOCHS))
        times["keras_script"].append(processes.run(command).seconds)
        fitted = trainer(folder, "fit", config, "--runs", folder / "runs", "--quiet")
        times["trainer_fit"].append(fitted.seconds)
        # In one process: the time that each further config adds.
        single = trainer(folder, "fit", copies[0], "--runs", folder / "runs", "--quiet")
        several = trainer(folder, "fit", *copies, "--runs", folder / "runs", "--quiet")
        per_config = (several.seconds - single.seconds) / SAMPLE
        times["one_process"].append(single.seconds + per_config * (networks - 1))
        times["one_fit"].append(single.seconds)
        shutil.rmtree(folder / "runs")
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {
        "networks": networks,
        "sweep": medians["sweep"],
        "keras_script": medians["keras_script"] * networks,
        "trainer_fit": medians["trainer_fit"] * networks,
        "one_process": medians["one_process"],
    }


def folds(folder: Path) -> dict[str, float]:
    """Return the medians of 5 folds × 4 repeats, and of one network."""
    config = processes.ROOT / "configs" / "breast_cancer.yaml"
    times: dict[str, list[float]] = {"one": [], "twenty": []}
    for _ in range(ROUNDS):
        for name, settings in (("one", ()), ("twenty", ("fit.folds=5", "fit.repeats=4"))):
            ended = trainer(folder, "fit", config, *settings, "--runs", folder / "runs", "--quiet")
            times[name].append(ended.seconds)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def search(folder: Path, trials: int) -> dict[str, float]:
    """Run a TPE search once."""
    config = processes.ROOT / "configs" / "credit_sweep.yaml"
    command = ("sweep", config, "--trials", str(trials), "--sweeps", folder / "sweeps", "--json")
    ended = trainer(folder, *command, "--quiet")
    results = json.loads(ended.output)
    splits = Path(results["winner"]["run"]) / "splits.parquet"
    table = processes.ROOT / "configs" / "data" / "credit.csv"
    boosted = processes.run([processes.OURS / "python", "-c", BOOSTING, table, splits])
    return {
        "trials": trials,
        "seconds": ended.seconds,
        "auc": results["metrics"]["test"]["auc"],
        "boosting_auc": json.loads(boosted.output),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--networks", type=int, default=64)
    parser.add_argument("--trials", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {"learning_rates": learning_rates(folder, args.networks)}
        print(results, file=sys.stderr)
        results["folds"] = folds(folder)
        print(results, file=sys.stderr)
        results["search"] = search(folder, args.trials)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
