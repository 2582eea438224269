"""Sweeps, folds and repeats at the command line: refusals, output, signals."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.runs import log_lines
from trainer.runs.lock import RunLock
from trainer.runs.process import is_alive, this_process
from trainer.runs.sweeps import SweepDirectory
from trainer.workers.leases import leases_in

RATES = "optimizer.learning_rate=1e-3,1e-2"
RATE = "optimizer.learning_rate"


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        ((), ["settings to search", "no sweep section"]),
        (("optimizer.lr=1e-3,1e-2",), ["optimizer.lr=1e-3,1e-2", "did you mean 'learning_rate'?"]),
        ((f"{RATE}=log(1e-1, 1e-4)",), [RATE, "1e-1", "1e-4"]),
        ((f"{RATE}=log(0, 1)",), [RATE]),
        ((f"{RATE}=uniform(a, b)",), [RATE]),
        (("model.layers.0.dense.units=int(1.5, 8)",), ["units"]),
        (("fit.batch_size=16,many",), ["fit.batch_size", "'many'"]),
        (("optimizer.name=adam,adma",), ["adma", "did you mean 'adam'"]),
        (("data.source=a.csv,b.csv",), ["data.source", "the same rows"]),
        (("fit.folds=3,5",), ["fit.folds", "one model"]),
        ((RATES, "sweep.objective=val_acuracy"), ["val_acuracy", "did you mean 'val_accuracy'"]),
        ((RATES, "sweep.search=gird"), ["gird", "did you mean 'grid'"]),
        ((RATES, "fit.repeats=2"), ["fit.repeats", "one network per trial"]),
        (
            ("model.layers.0.dense.units=int(1, 1000)", "sweep.search=grid"),
            ["only lists with search: grid", "model.layers.0.dense.units"],
        ),
        ((RATES, "data.target=nothing"), ["nothing"]),
        ((RATES, "good.yaml"), ["one config file"]),
        ((RATES, "sweep.keep=some"), ["sweep.keep", "best:5"]),
        ((RATES, "--engine", "rya"), ["--engine", "local or ray", "did you mean 'ray'"]),
        ((RATES, "--address", "auto"), ["--address", "none without --engine ray"]),
        ((RATES, "--engine", "ray", "--address", "far"), ["HOST:PORT", "'far'"]),
        (
            (RATES, "--engine", "ray", "--address", "127.0.0.1:1"),
            ["--address 127.0.0.1:1", "Connection refused", "ray start --head"],
        ),
    ],
)
def test_invalid_sweep(
    folder: Path, refused: Callable, arguments: tuple[str, ...], mentions: list[str]
) -> None:
    before = sorted(folder.rglob("*"))
    refused("sweep", "good.yaml", *arguments, mentions=mentions)
    assert sorted(folder.rglob("*")) == before


def test_grid_of_a_billion_trials(folder: Path, refused: Callable) -> None:
    values = ",".join(str(number) for number in range(1, 1001))
    arguments = [
        f"model.layers.0.dense.units={values}",
        f"fit.batch_size={values}",
        f"seed={values}",
    ]
    refused("sweep", "good.yaml", *arguments, mentions=["1,000,000,000", "100,000"])


@pytest.mark.parametrize("command", ["best", "resume"])
def test_path_that_is_not_a_sweep(folder: Path, refused: Callable, command: str) -> None:
    refused(command, "nothing", mentions=["no such path"])
    refused(command, "good.yaml", mentions=["good.yaml"])


@pytest.fixture
def finished_sweep(trainer: Callable, keep: Callable) -> Path:
    """A sweep of two trials, below `sweeps`."""

    def train() -> Path:
        result = trainer("sweep", "good.yaml", RATES, "--jobs", "1", "--quiet")
        assert result.code == 0, result.err
        return Path(result.out.strip())

    return keep("sweeps", (RATES,), train)


def test_best_trial_of_a_finished_sweep(finished_sweep: Path, trainer: Callable) -> None:
    path = finished_sweep
    best = trainer("best", path)
    assert (best.code, Path(best.out.strip()).parent) == (0, path / "trials")
    output = trainer("best", path, "--json").json
    assert (output["status"], output["run"]) == ("finished", best.out.strip())
    listed = trainer("ls", path, "--sort", "val_loss", "--columns", f"run,val_loss,{RATE}")
    assert listed.out.splitlines()[1].startswith(best.out.strip())
    again = trainer("resume", path, "--json")
    assert again.json["winner"]["run"] == best.out.strip()
    assert {trial["status"] for trial in again.json["trials"]} == {"finished"}
    once_more = trainer("sweep", "good.yaml", RATES, "--resume-or-start", "--quiet")
    assert once_more.out == f"{path}\n"


@pytest.mark.slow
def test_best_trial_is_refitted(finished_sweep: Path, trainer: Callable) -> None:
    refitted = trainer("best", finished_sweep, "--refit", "--quiet")
    assert refitted.code == 0, refitted.err
    splits = json.loads((Path(refitted.out.strip()) / "manifest.json").read_text())["splits"]
    assert (splits["validation"], splits["test"]) == (0, 12)


def test_sweep_whose_trials_all_fail(folder: Path, trainer: Callable) -> None:
    words = ("sweep", "good.yaml", "optimizer=sgd", f"{RATE}=1e30,1e35", "--jobs", "1")
    failed = trainer(*words, "evaluate.report=true", "--json")
    assert failed.code == 3
    assert failed.json["error"]["problems"][0]["expected"] == "a trial with a finite val_loss"
    (path,) = folder.glob("sweeps/*/*")
    # The report of the sweep gives the reason.
    report = (path / "report.html").read_text(encoding="utf-8")
    assert "2 of 2 trials ended (2 failed)" in report
    assert trainer("best", path).code == 3
    assert trainer("resume", path, "--jobs", "1").code == 3


@pytest.mark.slow
def test_stopped_sweep_resumes(folder: Path, trainer: Callable, after_epoch: Callable) -> None:
    after_epoch(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = trainer("sweep", "good.yaml", RATES, "fit.epochs=12", "--jobs", "1")
    assert stopped.code == 75, stopped.err
    path = Path(stopped.out.strip())
    assert path.parent == Path("sweeps/good")
    assert "2 networks in 1 program" in stopped.err
    assert f"resume with: trainer resume {path}" in stopped.err
    statuses = [
        json.loads(manifest.read_text())["status"]
        for manifest in path.glob("trials/*/manifest.json")
    ]
    assert statuses == ["stopped", "stopped"]
    done = trainer("resume", path, "--json", "--quiet")
    assert done.code == 0, done.err
    assert [trial["epochs"] for trial in done.json["trials"]] == [12, 12]


def test_sweep_of_another_process_is_refused(finished_sweep: Path, refused: Callable) -> None:
    with RunLock(SweepDirectory(finished_sweep).lock):
        refused("resume", finished_sweep, mentions=["a run that no other process is writing"])


@pytest.mark.slow
def test_folds_and_repeats(folder: Path, trainer: Callable, refused: Callable) -> None:
    fitted = trainer("fit", "good.yaml", "fit.folds=2", "fit.repeats=2")
    assert fitted.code == 0, fitted.err
    assert "2 folds × 2 repeats: 4 networks" in fitted.err
    run = Path(fitted.out.strip())
    predicted = trainer("predict", run, "table.csv", "-o", "out.csv")
    assert predicted.code == 0, predicted.err
    header = (folder / "out.csv").read_text().splitlines()[0]
    assert header == "row,label,probability_no,probability_yes,probability_yes_std,unseen"
    output = trainer("eval", run, "--json").json
    assert (output["split"], output["checkpoint"]) == ("test", "best of 4 members")
    refused("eval", run, "--split", "train", mentions=["the test rows, which its members share"])
    refused("resume", run, mentions=["a finished run"])
    refused("resume", run, "fit.epochs=+5", mentions=["no KEY=VALUE", "members/0001"])
    again = trainer(
        "fit", "good.yaml", "fit.folds=2", "fit.repeats=2", "--resume-or-start", "--json"
    )
    assert again.json["run"] == str(run)
    assert len(again.json["members"]) == 4
    shown = trainer("show", run)
    assert "[" in shown.out
    more = trainer("resume", run / "members" / "0001", "fit.epochs=+2", "--json")
    assert (more.code, more.json["epochs"]) == (0, 4), more.err
    # A script that reads the result of one network reads that of several.
    assert set(more.json) <= set(again.json)
    assert isinstance(again.json["metrics"]["test"]["loss"], float)


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (("fit.folds=1",), ["fit.folds", "from 2 to 1,000"]),
        (("fit.folds=40",), ["40"]),
        (("fit.repeats=0",), ["fit.repeats"]),
        (("fit.folds=3", "data.split.fold=1/3"), ["either one fold or all of them"]),
        (("data.split.fold=4/3",), ["data.split.fold"]),
    ],
)
def test_invalid_folds(
    folder: Path, refused: Callable, arguments: tuple[str, ...], mentions: list[str]
) -> None:
    refused("fit", "good.yaml", *arguments, mentions=mentions)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("arguments", [("--engine", "ray"), ("--address", "auto"), ("--jobs", "2")])
def test_options_of_sweeps_are_refused_for_a_run(
    folder: Path, finished: Path, refused: Callable, arguments: tuple[str, ...]
) -> None:
    refused(
        "resume",
        finished,
        *arguments,
        mentions=[f"a run of a single network, found {arguments[0]}; remove"],
    )


@pytest.mark.slow
def test_sweep_on_ray_is_stopped_and_resumes_without_ray(
    folder: Path, start: Callable, trainer: Callable, after_epoch: Callable
) -> None:
    words = ("sweep", "good.yaml", RATES, "fit.epochs=1000000", "--engine", "ray", "--jobs", "1")
    sweep = start(*words)
    logs = "sweeps/*/*/trials/*/metrics.jsonl"
    sweep.wait_until(lambda: any(log.stat().st_size for log in folder.glob(logs)))
    (lease,) = leases_in(next(folder.glob("sweeps/*/*/workers")))
    worker = lease.holder
    assert worker is not None
    ended, out, err = sweep.end(signal.SIGTERM)
    assert ended == 75, err
    path = Path(out.strip())
    assert f"resume with: trainer resume {path}" in err
    assert not is_alive(worker, this_process())
    assert not (path / "workers").exists()
    trained = [len(log_lines(trial)) for trial in sorted(path.glob("trials/*"))]
    after_epoch(max(trained) + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    resumed = trainer("resume", path, "--json", "--quiet")
    assert resumed.code == 75, resumed.err
    for trial, epochs in zip(sorted(path.glob("trials/*")), trained, strict=True):
        assert len(log_lines(trial)) > epochs


def test_check_reports_trials_and_programs(folder: Path, trainer: Callable) -> None:
    text = (folder / "good.yaml").read_text()
    space = "{optimizer.learning_rate: [0.1, 0.01, 0.001], model.layers.0.dense.units: [4, 8]}"
    (folder / "swept.yaml").write_text(f"{text}sweep: {{space: {space}}}\n")
    result = trainer("check", "swept.yaml")
    assert result.code == 0, result.err
    assert (
        result.out.splitlines()[-1]
        == "sweep: 6 trials, grid search; first batch: 6 networks in 2 programs"
    )
    planned = trainer("check", "swept.yaml", "--json").json["sweep"]
    assert planned == {
        "search": "grid",
        "trials": 6,
        "first_batch": "6 networks in 2 programs",
        "combinations": None,
    }
    short = trainer("check", "swept.yaml", "sweep.search=random", "sweep.trials=9")
    assert "6 combinations of settings exist; running 6 trials instead of 9" in short.err
    assert short.out.splitlines()[-1].startswith("sweep: 6 trials, random search")
