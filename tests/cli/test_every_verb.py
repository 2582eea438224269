"""What one verb writes, every other verb reads: each shipped config, and each task trained alone, with
folds, in a sweep and streamed, through all of them, without a warning that is not named here.

One run a case, shared by the tests of its verbs. Names of classes and columns are hostile.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trainer.config.load import load_config
from trainer.report.explanations import FILES
from trainer.report.findings import read_findings
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.records import from_json, to_json
from trainer_cli.main import run as command_line

SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
QUICK = ("fit.epochs=1", "evaluate.resamples=100")
TASKS = ("binary", "multiclass", "multilabel", "regression", "regressions")
KINDS = ("single", "folds", "sweep", "streamed")
ROWS = 90
TARGETS = {
    "binary": ["answer"],
    "multiclass": ["answer"],
    "multilabel": ["actual", "row", "tag, 'x'"],
    "regression": ["price"],
    "regressions": ["price", "price_low", "weight"],
}
CLASSES = {
    "binary": ["1", 'say "yes", or\nno 🙂'],
    "multiclass": ["a,b", "probability_a,b", "x_spread", "x"],
}
SETTINGS = {
    "binary": ["evaluate={threshold: f1, calibrate: true}", "fit.class_weight=balanced"],
    "multiclass": ["evaluate.calibrate=true", "fit.class_weight=balanced"],
}
NO_OTHER_ROWS = {"gate", "half_squared", "xor"}
"""Cases that train on all rows."""
WARNINGS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        NO_OTHER_ROWS,
        (
            "warning: there are no validation rows: the best epoch is chosen on the training rows",
            "warning: there are no test rows: performance on new rows is not estimated",
        ),
    ),
    **dict.fromkeys(
        ("credit", "credit_sweep"),
        ("warning: 1 row has a value not seen in training in 'Marital'",),
    ),
    "digits": ("warning: ignored, constant in the training rows: 'pixel_0_0'",),
    "gradient_descent": (
        "warning: 180 rows dropped: missing value",
        "warning: 46 rows dropped: outlier",
    ),
}
"""Case → the beginnings of the warnings that it gives."""


@dataclass(frozen=True)
class Said:
    """What a command line printed."""

    out: str
    err: str


@dataclass(frozen=True)
class Case:
    """A run that has been trained.

    Attributes:
        name: Of the case.
        run: Its directory.
        source: A table that can be predicted.
        fitted: What training printed.
    """

    name: str
    run: Path
    source: Path
    fitted: Said = field(repr=False)

    def mentions(self, *arguments: str | Path) -> Said:
        return said(self.name, *arguments)


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def said(case: str, *arguments: str | Path) -> Said:
    """Run a command line that must succeed, and warn of nothing but what `WARNINGS` names."""
    out, err, records = io.StringIO(), io.StringIO(), _Records()
    logging.getLogger().addHandler(records)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command_line([str(word) for word in arguments])
    finally:
        logging.getLogger().removeHandler(records)
    assert code == 0, (arguments, err.getvalue())
    warned = [line for line in err.getvalue().splitlines() if "warning:" in line.lower()]
    known = WARNINGS.get(case, ())
    unnamed = [line for line in (*warned, *records.texts) if not line.startswith(known or ("\0",))]
    assert not unnamed, (arguments, unnamed)
    assert "damage" not in (err.getvalue() + out.getvalue()).lower(), arguments
    return Said(out.getvalue(), err.getvalue())


def write_rows(path: Path, task: str) -> None:
    draw = np.random.default_rng(len(task))
    size, share = draw.normal(size=ROWS), draw.random(ROWS)
    columns: dict[str, Sequence[object]] = {
        "size": size.round(3).tolist(),
        "day": [f"2026-{1 + at % 12:02}-{1 + at % 28:02}" for at in range(ROWS)],
        "colour, 🎨": draw.choice(["red", 'dark "blue"', "new\nline"], ROWS).tolist(),
    }
    if task in CLASSES:
        classes = CLASSES[task]
        place = np.argsort(np.argsort(size + 0.3 * share)) * len(classes) // ROWS
        columns["answer"] = [classes[at] for at in place]
    for number, name in enumerate(TARGETS[task] if task not in CLASSES else []):
        if task == "multilabel":
            columns[name] = (size + draw.normal(size=ROWS) > number / 3).astype(int).tolist()
        else:
            columns[name] = (100_000 * (number + 1) + 7 * size + share).round(2).tolist()
    pl.DataFrame(columns).write_csv(path)


def write_config(folder: Path, task: str) -> Path:
    write_rows(folder / "table.csv", task)
    config = {
        "name": "every",
        "seed": 1,
        "data": {
            "source": "table.csv",
            "target": TARGETS[task] if len(TARGETS[task]) > 1 else TARGETS[task][0],
            "split": {"test": 0.25, "validation": 0.25},
        },
        "model": {"layers": [{"dense": 3}]},
        "fit": {"epochs": 1, "batch_size": 16},
        "evaluate": {"resamples": 100},
    }
    # JSON is YAML.
    path = folder / "config.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def trained(folder: Path, name: str) -> Case:
    task, kind = name.split("-")
    config = write_config(folder, task)
    settings = SETTINGS.get(task, [])
    runs = ("--runs", folder / "runs", "--json")
    match kind:
        case "sweep":
            rates = "optimizer.learning_rate=1e-3,1e-2"
            place = ("--sweeps", folder / "sweeps", "--jobs", "1", "--json")
            fitted = said(name, "sweep", config, rates, *settings, *place)
            best = json.loads(said(name, "best", json.loads(fitted.out)["sweep"], "--json").out)
            run = Path(best["run"])
        case "folds":
            fitted = said(name, "fit", config, "fit.folds=2", *settings, *runs)
            run = Path(json.loads(fitted.out)["run"])
        case _:
            engine = "streaming" if kind == "streamed" else "resident"
            fitted = said(name, "fit", config, f"runtime.engine={engine}", *settings, *runs)
            run = Path(json.loads(fitted.out)["run"])
    return Case(name, run, folder / "table.csv", fitted)


def shipped(folder: Path, config: Path) -> Case:
    loaded = load_config(config).config
    source = loaded.data.source
    assert isinstance(source, str | list) or source is not None
    table = source if isinstance(source, str) else source.train  # type: ignore[union-attr]
    place = ("--runs", folder / "runs", "--json")
    if loaded.sweep is not None:
        sweeps = ("--sweeps", folder / "sweeps", "--trials", "2", "--jobs", "1", "--json")
        small = ("sweep.search=random", "sweep.halving=null")
        fitted = said(config.stem, "sweep", config, *QUICK, *small, *sweeps)
        best = said(config.stem, "best", json.loads(fitted.out)["sweep"], "--json")
        run = Path(json.loads(best.out)["run"])
    else:
        fitted = said(config.stem, "fit", config, *QUICK, *place)
        run = Path(json.loads(fitted.out)["run"])
    return Case(config.stem, run, Path(str(table)), fitted)


FAST = {
    *(f"{task}-single" for task in TASKS),
    "binary-folds",
    "multiclass-sweep",
    "regression-streamed",
}
"""Each task and each way of training once; with the others it takes minutes."""
NAMES = [
    *(f"{task}-{kind}" for task in TASKS for kind in KINDS),
    *(path.stem for path in SHIPPED),
]
CASES = [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in NAMES]


@pytest.fixture(scope="module", params=CASES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    name = request.param
    folder = tmp_path_factory.mktemp("case")
    by_name = {path.stem: path for path in SHIPPED}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TRAINER_RUNS", raising=False)
        patch.setenv("COLUMNS", "200")
        yield shipped(folder, by_name[name]) if name in by_name else trained(folder, name)


def test_files_are_read_as_they_were_written(case: Case) -> None:
    run = RunDirectory(case.run)
    decisions, findings = read_decisions(run), read_findings(run)
    assert decisions is not None
    assert json.loads(run.decisions.read_text()) == to_json(decisions)
    assert findings is not None, "it was reported on"
    assert json.loads(run.findings.read_text()) == {"format": 1, **to_json(findings)}
    for split, evaluation in run.read_evaluations().items():
        written = json.loads((run.evaluation / f"{split}.json").read_text())
        assert written == to_json(evaluation)
    page = run.report.read_text()
    assert "Damaged" not in page
    assert "largest loss" in page


def test_show(case: Case) -> None:
    shown = case.says("show", case.run).out
    assert "95% interval" in shown
    assert json.loads(case.says("show", case.run, "--json").out)["findings"] is not None


def test_report(case: Case) -> None:
    before = (case.run / "findings.json").read_bytes()
    case.says("report", case.run)
    assert case.says("report", case.run, "--format", "md").out
    (case.run / "findings.json").unlink()
    case.says("report", case.run)
    assert (case.run / "findings.json").read_bytes() == before


def test_compare(case: Case, tmp_path: Path) -> None:
    other = case.run.with_name("other")
    shutil.copytree(case.run, other)
    assert case.says("compare", case.run, other).out
    assert len(json.loads(case.says("compare", case.run, other, "--json").out)["runs"]) == 2
    case.says("report", case.run, other, "--out", tmp_path / "both.html")
    shutil.rmtree(other)


def test_eval(case: Case) -> None:
    written = RunDirectory(case.run).read_evaluations()
    lines = case.says("eval", case.run, "--json").out.splitlines()
    splits = {one["split"]: one for one in map(json.loads, lines)}
    assert set(splits) <= set(written)
    if case.source.suffix == ".csv":
        case.says("eval", case.run, "--data", case.source)


def test_predict(case: Case, tmp_path: Path) -> None:
    out = tmp_path / "said.parquet"
    case.says("predict", case.run, case.source, "--output", out, "--keep", "*")
    frame = pl.read_parquet(out)
    assert frame.height == len(frame["row"].unique())
    task = case.name.split("-")[0]
    if task.startswith("regression") and task in TARGETS:
        assert {f"predicted_{name}" for name in TARGETS[task]} <= set(frame.columns)
        # Of each the prediction and both ends of its interval.
        told = [name for name in frame.columns if name.startswith("predicted_")]
        spread = 1 if "folds" in case.name else 0
        assert len(told) == (3 + spread) * len(TARGETS[task])
        for name in TARGETS[task]:
            assert frame[f"predicted_{name}"].is_finite().all()


def test_explain(case: Case) -> None:
    if case.name in NO_OTHER_ROWS:
        return  # It is refused: there are no rows to explain it on.
    case.says("explain", case.run, "--repeats", "1")
    for path in (case.run / "explanation").glob("*.json"):
        written = json.loads(path.read_text())
        read = to_json(from_json(FILES[path.stem], written))
        assert {name: read[name] for name in written} == written
    case.says("report", case.run)
    page = (case.run / "report.html").read_text()
    assert "Damaged" not in page
    assert "Permutation importance" in page
    assert "Damaged" not in case.says("report", case.run, "--format", "md").out


def test_resume(case: Case) -> None:
    members = case.run / "members"
    case.says("resume", members / "0001" if members.is_dir() else case.run, "fit.epochs=+1")
    test_files_are_read_as_they_were_written(case)


def test_ls(case: Case) -> None:
    for listed in map(json.loads, case.says("ls", case.run, "--json").out.splitlines()):
        assert listed["problems"] == []
        assert listed["metrics"]
