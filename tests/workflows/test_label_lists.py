"""List-valued (multilabel) targets in fit, folds, predict and eval."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from tests.marks import slow_except
from tests.workflows.conftest import evaluate_run, predict_table, run_fit
from trainer.config.load import load_config
from trainer.report.predictions import read_split_predictions
from trainer.runs.directory import RunDirectory
from trainer.workflows.audit import audit_labels
from trainer.workflows.members import fit_members
from trainer.workflows.session import Session

CLASSES = ("blue", "green", "red")
CONFIG = """\
name: tags
data: {source: tags.csv, target: tags, target_separator: ";", split: {test: 0.2, validation: 0.2}}
model: {layers: [{dense: 8}]}
metrics: [f1, auc]
fit: {epochs: 2, batch_size: 16}
evaluate: {report: false, importance: false}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 3))
    cells = [
        "; ".join(name for name, value in zip(CLASSES, row, strict=True) if value > 0.2)
        for row in x
    ]
    frame = pl.DataFrame(x, schema=["a", "b", "c"]).with_columns(tags=pl.Series(cells))
    frame.write_csv(folder / "tags.csv")
    (folder / "config.yaml").write_text(CONFIG)
    return folder / "config.yaml"


def read_targets(config: Path) -> np.ndarray:
    cells = pl.read_csv(config.parent / "tags.csv")["tags"].fill_null("")
    return np.array([[name in cell.split("; ") for name in CLASSES] for cell in cells])


@pytest.mark.parametrize("engine", slow_except(("resident",), ("resident", "streaming")))
def test_fit_predict_and_eval(config: Path, tmp_path: Path, engine: str) -> None:
    run = run_fit(config, tmp_path, f"runtime.engine={engine}").run
    source = config.parent / "tags.csv"
    predictions = predict_table(run, source, "tags").frame
    columns = [f"probability_{name}" for name in CLASSES]
    assert predictions.columns == ["row", "tags", "labels", *columns, "unseen"]
    p = predictions.select(columns).to_numpy()
    for labels, row in zip(predictions["labels"], p, strict=True):
        assert labels == ";".join(itertools.compress(CLASSES, row >= 0.5))
    y = read_targets(config)
    (evaluation,) = evaluate_run(run, data=source).results
    assert evaluation.metrics["auc"] == pytest.approx(roc_auc_score(y, p, average="macro"))
    f1 = f1_score(y, p >= 0.5, average="macro", zero_division=0)
    assert evaluation.metrics["f1"] == pytest.approx(f1)
    test = read_split_predictions(RunDirectory(run), "test", "multilabel", CLASSES, columns)
    assert test is not None
    np.testing.assert_array_equal(test.y, y[test.rows])
    assert audit_labels(run).rows


@pytest.mark.slow
def test_folds_predict_each_row_once(config: Path, tmp_path: Path) -> None:
    loaded = load_config(config, ("fit.folds=3", "fit.epochs=1"))
    events: Iterator[object] = fit_members(loaded, Session(("trainer", "fit")), tmp_path)
    run = list(events)[-1].run  # type: ignore[attr-defined]
    frame = pl.read_parquet(run / "predictions" / "out_of_fold.parquet")
    assert {"tags", *(f"probability_{name}" for name in CLASSES)} <= set(frame.columns)
    assert frame.height == 96
    assert audit_labels(run).rows
