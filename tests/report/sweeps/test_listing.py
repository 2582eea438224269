"""Sweeps and their trials in `trainer ls`."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.report.run_files import NOW
from tests.report.sweep_files import make_sweep
from trainer.errors import UsageError
from trainer.report.query import parse_query
from trainer.report.sweeps.content import list_sweeps, read_sweep
from trainer.report.sweeps.listing import (
    select_trials,
    sweep_json,
    sweeps_table,
    trial_json,
    trials_csv,
    trials_table,
)


def ending(number: int, value: float) -> Any:
    if number == 1:
        return "failed", math.nan, "expected a finite loss"
    return ("eliminated" if number == 2 else "finished"), value, ""


@pytest.fixture
def sweep(tmp_path: Path) -> Any:
    return read_sweep(make_sweep(tmp_path, kept=3, ending=ending, unfinished=1))


def select(sweep: Any, *where: str, sort: str | None = None, columns: str | None = None) -> list:
    query = parse_query(where, sort, columns)
    return [item.values for item in select_trials(sweep, query, NOW).runs]


def test_all_trials_are_listed_best_first(sweep: Any) -> None:
    values = select(sweep)
    assert sorted(item["trial"] for item in values) == list(range(12))
    assert [item["status"] for item in values[-3:]] == ["eliminated", "failed", "unfinished"]
    objectives = [item["objective"] for item in values[:-3]]
    assert objectives == sorted(objectives, reverse=True)
    # All trials have settings, kept ones a run.
    assert all("fit.batch_size" in item for item in values)
    assert ["run" in item for item in values] == [True] * 3 + [False] * 9
    assert values[0]["val_auc"] == pytest.approx(values[0]["objective"])
    assert values[5]["val_auc"] == values[5]["objective"]


def test_filter_and_sort_trials(sweep: Any) -> None:
    assert [item["trial"] for item in select(sweep, "status == failed")] == [1]
    assert [item["reason"] for item in select(sweep, "trial == 1")] == ["expected a finite loss"]
    rates = [
        item["optimizer.learning_rate"] for item in select(sweep, sort="optimizer.learning_rate")
    ]
    assert rates == sorted(rates)
    by_auc = [item.get("val_auc") for item in select(sweep, sort="val_auc")]
    by_objective = [item.get("objective") for item in select(sweep, sort="objective")]
    assert by_auc[:10] == by_objective[:10] == sorted(by_auc[:10], reverse=True)
    assert by_auc[10:] == [None, None]
    # Settings that are not searched are read from kept runs.
    assert len(select(sweep, "optimizer.name == adam")) == 3
    with pytest.raises(UsageError, match="did you mean 'objective'"):
        select(sweep, "objectiv > 0")
    with pytest.raises(UsageError, match="of the 12 trials"):
        select(sweep, "nothing > 0")


def test_table_json_and_csv(sweep: Any) -> None:
    query = parse_query((), None, None)
    trials = select_trials(sweep, query, NOW).runs
    table = trials_table(sweep, trials, query)
    assert table.columns == ("trial", "status", "val_auc", "best_epoch", "epochs", "settings")
    assert len(table.rows) == 12
    assert table.rows[0][-1].startswith("learning_rate=")
    rows = list(csv.DictReader(trials_csv(sweep, trials, query)))
    assert [row["trial"] for row in rows] == [row[0] for row in table.rows]
    assert float(rows[0]["objective"]) == trials[0].values["objective"]
    assert set(rows[0]) > {"run", "reason", "val_auc", "optimizer.learning_rate"}
    first, last = (trial_json(item, sweep, ()) for item in (trials[0], trials[-1]))
    assert json.loads(json.dumps(first))["settings"].keys() == {
        "optimizer.learning_rate", "model.layers.0.dense.units", "fit.batch_size",
    }  # fmt: skip
    assert first["metrics"]["validation"]["auc"] == first["objective"]
    assert (last["status"], last["run"], last["objective"]) == ("unfinished", None, None)
    assert trial_json(trials[0], sweep, ("trial", "absent")) == {
        "trial": trials[0].values["trial"],
        "absent": None,
    }


def test_list_sweeps(tmp_path: Path) -> None:
    make_sweep(tmp_path, "one", trials=4)
    make_sweep(tmp_path, "two", trials=4, limit=6)
    make_sweep(tmp_path, "none", trials=0, limit=5, settings=[])
    result = {sweep.name: sweep for sweep in list_sweeps(tmp_path)}
    table = sweeps_table(list(result.values()), NOW)
    rows = {row[1]: row for row in table.rows}
    assert (rows["one"][0], rows["one"][3]) == ("finished", "4/4")
    assert (rows["two"][0], rows["two"][3]) == ("stopped", "4/6")
    assert (rows["none"][0], rows["none"][3:5]) == ("stopped", ("0/5", "–"))
    assert rows["one"][4].startswith("val_auc 0.")
    two = sweep_json(result["two"])
    assert (two["trials"], two["counts"]) == (6, {"finished": 4})
    assert two["best"]["status"] == "finished"
    assert two["space"]["space"]["fit.batch_size"] == "int(8, 64)"
