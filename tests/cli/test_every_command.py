"""Every command reads what the others write, without warnings that are not listed here.

The cases are each task, trained as a single run or with folds, a sweep, a streamed training, and shipped
configs: one for each kind of input, and those that tests/test_configs.py does not train. Names of
classes and columns contain commas, quotes, line breaks and suffixes of output columns.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.cli.conftest import CommandResult
from tests.models.pretrained.encoder_folders import write_encoder
from tests.test_configs import MIN_METRICS
from trainer.config.load import load_config
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.explanations import FILES
from trainer.runs.findings import read_findings
from trainer.runs.heat_maps import HeatMapsFile
from trainer.runs.images import ImagesFile
from trainer.runs.records import from_json, to_json

CONFIGS = Path(__file__).parents[2] / "configs"
GENERATED = {"digits_gan", "rows_gan"}
"""Configs whose runs have samples instead of predictions."""
SAME = {"phrases_translate", "sentences_tuned"}
"""Configs that differ from another in data or in values of settings."""
SHIPPED = {
    "clothing", "xor",
    *({path.stem for path in CONFIGS.glob("*.yaml")} - MIN_METRICS.keys() - GENERATED - SAME),
}  # fmt: skip
LONG = {
    "dates_translate", "emoji", "reviews", "reviews_bert", "sentences_minilm",
}  # fmt: skip
"""Configs that are trained on `SHORT_ROWS` rows of their table."""
SHORT_ROWS = 240
QUICK = ("fit.epochs=1", "evaluate.resamples=100")
SMALLER = {
    "reviews": ("fit.folds=2",),
    "emoji": ("fit.folds=2",),
    "breast_cancer_folds": ("fit={folds: 2, repeats: 2}",),
    "reviews_bert": ("model.pretrained.file=encoder",),
    "sentences_minilm": ("model.pretrained=encoder",),
    "dates_translate": (
        "evaluate.decoding=1", "runtime.jit_compile=false", "data.tokens.length=8",
        "model.encoder_decoder.layers=1",
    ),
}  # fmt: skip
"""Overrides for many folds, for encoders, and for short translations."""
TRANSLATIONS = ("dates_translate",)
"""Configs whose runs cannot be explained."""
ENCODER = {"max_position_embeddings": 128, "num_hidden_layers": 1}
RECORDS = {**FILES, "heat_maps": HeatMapsFile, "images": ImagesFile}
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
    "multiclass": ["a,b", "probability_a,b", "x_std", "x"],
}
SETTINGS = {
    "binary": ["evaluate={threshold: f1, calibrate: true}", "fit.class_weight=balanced"],
    "multiclass": ["evaluate.calibrate=true", "fit.class_weight=balanced"],
}
ALL_ROWS_TRAIN = {"gate", "half_squared", "xor"}
"""Cases without validation and test rows."""
WARNINGS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ALL_ROWS_TRAIN,
        (
            "warning: there are no validation rows: the best epoch is chosen on the training rows",
            "warning: there are no test rows: performance on new rows is not estimated",
        ),
    ),
    "credit_sweep": ("warning: 1 row has a value not seen in training in 'Marital'",),
    # Rows whose words are in no other row; their number depends on the command.
    "emoji": ("warning: ",),
    "reviews": ("warning: 1 row has a text without a known word in 'review'",),
    "gradient_descent": (
        "warning: 180 rows dropped: missing value",
        "warning: 46 rows dropped: outlier",
    ),
}
"""Case → how its warnings begin."""
WARNINGS_OF_TABLES = re.compile(
    "validation rows are too few to choose the best epoch by|a temperature above 1 magnifies rounding"
)
"""In warnings about the tables that the tests write, whose networks learn little."""


@dataclass(frozen=True)
class Case:
    """A trained run.

    Attributes:
        name: Name of the case.
        run: Its directory.
        table: A table that can be predicted.
        command: Run a command that must succeed.
    """

    name: str
    run: Path
    table: Path
    command: Callable[..., CommandResult]


@pytest.fixture
def command(
    name: str, folder: Path, trainer: Callable, caplog: pytest.LogCaptureFixture
) -> Callable[..., CommandResult]:
    """Run a command that must succeed with no other warnings than `WARNINGS` lists."""

    def call(*arguments: str | Path) -> CommandResult:
        caplog.clear()
        result = trainer(*arguments)
        assert result.code == 0, (arguments, result.err)
        warnings = [line for line in result.err.splitlines() if "warning:" in line.lower()]
        warnings += [record.getMessage() for record in caplog.records if record.levelno >= 30]
        expected = WARNINGS.get(name, ("\0",))
        unexpected = [
            line
            for line in warnings
            if not line.startswith(expected) and not WARNINGS_OF_TABLES.search(line)
        ]
        assert not unexpected, (arguments, unexpected)
        assert "damage" not in (result.err + result.out).lower(), arguments
        return result

    return call


def write_rows(path: Path, task: str) -> None:
    rng = np.random.default_rng(len(task))
    size, share = rng.normal(size=ROWS), rng.random(ROWS)
    columns: dict[str, Sequence[object]] = {
        "size": size.round(3).tolist(),
        "day": [f"2026-{1 + index % 12:02}-{1 + index % 28:02}" for index in range(ROWS)],
        "color, 🎨": rng.choice(["red", 'dark "blue"', "new\nline"], ROWS).tolist(),
    }
    if task in CLASSES:
        classes = CLASSES[task]
        class_indices = np.argsort(np.argsort(size + 0.3 * share)) * len(classes) // ROWS
        columns["answer"] = [classes[index] for index in class_indices]
    for number, name in enumerate(TARGETS[task] if task not in CLASSES else []):
        if task == "multilabel":
            columns[name] = (size + rng.normal(size=ROWS) > number / 3).astype(int).tolist()
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
        "fit": {"epochs": 1, "batch_size": 15},
        "evaluate": {"resamples": 100},
    }
    # JSON is YAML.
    path = folder / "config.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def train_task(name: str, folder: Path, command: Callable) -> Case:
    task, kind = name.split("-")
    config = write_config(folder, task)
    settings = SETTINGS.get(task, [])
    if kind == "folds":
        settings = ["fit.folds=2", *settings]
    else:
        engine = "streaming" if kind == "streamed" else "resident"
        settings = [f"runtime.engine={engine}", *settings]
    run = Path(command("fit", config, *settings, "--json").json["run"])
    return Case(name, run, folder / "table.csv", command)


def train_shipped(config: Path, command: Callable) -> Case:
    loaded = load_config(config).config
    source = loaded.data.source
    table = Path(str(source if isinstance(source, str) else source.train))  # type: ignore[union-attr]
    settings = [*QUICK, *SMALLER.get(config.stem, ())]
    if config.stem in LONG:
        frame = pl.read_csv(table, infer_schema=False)
        table = Path("short.csv").absolute()
        frame.gather_every(frame.height // SHORT_ROWS).write_csv(table)
        settings.append(f"data.source={table}")
    if any(setting.endswith("=encoder") for setting in settings):
        write_encoder(Path("encoder"), text=table.read_text("utf-8"), **ENCODER)
    if loaded.sweep is not None:
        small = ("sweep.search=random", "sweep.halving=null", "--trials", "2", "--jobs", "1")
        swept = command("sweep", config, *settings, *small, "--json")
        run = Path(command("best", swept.json["sweep"], "--json").json["run"])
    else:
        run = Path(command("fit", config, *settings, "--json").json["run"])
    return Case(config.stem, run, table, command)


NAMES = [
    # breast_cancer_folds and credit_sweep are folds and a sweep of a binary task.
    "binary-single", "multiclass-single", "multilabel-folds", "multilabel-streamed",
    "regression-folds", "regressions-single",
    *sorted(SHIPPED),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_command_reads_the_run(
    name: str, folder: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    if name in SHIPPED:
        case = train_shipped(CONFIGS / f"{name}.yaml", command)
    else:
        case = train_task(name, folder, command)
    check_files(case)
    check_show(case)
    check_report(case)
    check_compare(case)
    check_eval(case)
    check_predict(case)
    if name not in TRANSLATIONS:
        check_explain(case)
    check_export(case)
    check_ls(case)
    check_resume(case)


def check_files(case: Case) -> None:
    run = RunDirectory(case.run)
    decisions, findings = read_decisions(run), read_findings(run)
    assert decisions is not None
    assert json.loads(run.decisions.read_text()) == to_json(decisions)
    assert findings is not None
    assert json.loads(run.findings.read_text()) == {"format": 1, **to_json(findings)}
    for split, evaluation in run.read_evaluations().items():
        written = json.loads((run.evaluation / f"{split}.json").read_text())
        assert written == to_json(evaluation)
    page = run.report.read_text()
    assert "Damaged" not in page
    assert ("Worst translations" if case.name in TRANSLATIONS else "largest loss") in page


def check_show(case: Case) -> None:
    shown = case.command("show", case.run).out
    assert "95% interval" in shown
    assert case.command("show", case.run, "--json").json["findings"] is not None


def check_report(case: Case) -> None:
    before = (case.run / "findings.json").read_bytes()
    assert case.command("report", case.run, "--format", "md").out
    (case.run / "findings.json").unlink()
    case.command("report", case.run)
    assert (case.run / "findings.json").read_bytes() == before


def check_compare(case: Case) -> None:
    other = case.run.with_name("other")
    shutil.copytree(case.run, other)
    assert case.command("compare", case.run, other).out
    assert len(case.command("compare", case.run, other, "--json").json["runs"]) == 2
    case.command("report", case.run, other, "--out", "both.html")
    shutil.rmtree(other)


def check_eval(case: Case) -> None:
    written = RunDirectory(case.run).read_evaluations()
    lines = case.command("eval", case.run, "--json").out.splitlines()
    assert {json.loads(line)["split"] for line in lines} <= set(written)
    if case.table.suffix == ".csv":
        case.command("eval", case.run, "--data", case.table)


def check_predict(case: Case) -> None:
    out = Path("predictions.parquet")
    case.command("predict", case.run, case.table, "--output", out, "--keep", "*")
    frame = pl.read_parquet(out)
    assert frame.height == len(frame["row"].unique())
    task = case.name.split("-")[0]
    if task.startswith("regression") and task in TARGETS:
        assert {f"predicted_{name}" for name in TARGETS[task]} <= set(frame.columns)
        # For each target the prediction and both ends of its interval; with folds the std, too.
        predicted = [name for name in frame.columns if name.startswith("predicted_")]
        per_target = 4 if "folds" in case.name else 3
        assert len(predicted) == per_target * len(TARGETS[task])
        for name in TARGETS[task]:
            assert frame[f"predicted_{name}"].is_finite().all()


def check_explain(case: Case) -> None:
    if case.name in ALL_ROWS_TRAIN:
        return  # explain is refused: there are no rows to evaluate on
    case.command("explain", case.run, "--repeats", "1")
    for path in (case.run / "explanation").glob("*.json"):
        written = json.loads(path.read_text())
        read = to_json(from_json(RECORDS[path.stem], written))
        assert {name: read[name] for name in written} == written
    case.command("report", case.run)
    page = (case.run / "report.html").read_text()
    assert "Damaged" not in page
    only_images = not (case.run / "explanation" / "importance.json").exists()
    assert ("Where the network looked" if only_images else "Permutation importance") in page
    assert "Damaged" not in case.command("report", case.run, "--format", "md").out


def check_export(case: Case) -> None:
    exported = case.command("export", case.run, "--json").json
    assert Path(exported["output"]).stat().st_size == exported["bytes"]
    card = Path(exported["model_card"]).read_text()
    assert "## How to call it" in card
    assert "Damaged" not in card


def check_resume(case: Case) -> None:
    members = case.run / "members"
    case.command("resume", members / "0001" if members.is_dir() else case.run, "fit.epochs=+1")
    check_files(case)


def check_ls(case: Case) -> None:
    for listed in map(json.loads, case.command("ls", case.run, "--json").out.splitlines()):
        assert listed["problems"] == []
        assert listed["metrics"]
