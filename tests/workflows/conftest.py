"""A small table, its config, and finished runs of it that tests share and only read."""

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from tests.workflows import folders
from tests.workflows.folders import Folder
from trainer.config.load import load_config
from trainer.engine import devices
from trainer.prediction.evaluation import evaluate
from trainer.prediction.files import predict_file
from trainer.prediction.predictor import Predictor, open_predictor
from trainer.workflows.events import MembersFinished, RunFinished
from trainer.workflows.fit import fit_run
from trainer.workflows.members import fit_members
from trainer.workflows.resuming.resume import resume_run
from trainer.workflows.session import Session

CONFIG = """\
name: small
seed: 3
data:
  source: small.csv
  target: label
  features: {exclude: [id]}
  categorical: {encode: onehot}
model:
  layers:
    - dense: {units: 6, activation: relu}
    - batch_normalization
    - dropout: 0.1
optimizer: {name: adam, learning_rate: 0.01}
# Four full batches: the graph of a step for a smaller last one is not traced.
fit: {epochs: 4, batch_size: 18}
# A report takes longer than this training run; tests of reports turn it on.
evaluate: {report: false}
"""


@pytest.fixture(scope="session", autouse=True)
def _tensorflow():
    devices.start("cpu", 1)


def write_table(path: Path, rows: int = 120, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    lines = ["id,size,color,label"]
    for row in range(rows):
        size = rng.normal()
        color = ["red", "green", "blue"][rng.integers(3)]
        label = "yes" if size + (color == "red") + 0.3 * rng.normal() > 0.3 else "no"
        lines.append(f"p{row},{size:.4f},{'' if row % 11 == 5 else color},{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_small(folder: Path) -> Path:
    """Write the small table and its config; return the config's path."""
    write_table(folder / "small.csv")
    config = folder / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    return config


def run_fit(config: Path, runs: Path, *overrides: str, allow_custom: bool = False) -> RunFinished:
    """Train and evaluate one run."""
    *_, last = fit_run(
        load_config(config, overrides),
        Session(("trainer", "fit", str(config)), allow_custom),
        runs,
    )
    assert isinstance(last, RunFinished)
    return last


def run_members(
    config: Path, runs: Path, *overrides: str, stop_after: int | None = None
) -> MembersFinished:
    """Train and evaluate the folds or repeats of a config.

    Args:
        stop_after: Interrupt training at this check for an interruption.
    """
    checks = count(1)
    session = Session(
        ("trainer", "fit"),
        interrupted=lambda: "stopped" if stop_after and next(checks) >= stop_after else None,
    )
    *_, last = fit_members(load_config(config, overrides), session, runs)
    assert isinstance(last, MembersFinished)
    return last


def resume_fit(run: Path, *overrides: str) -> RunFinished:
    *_, last = resume_run(run, overrides, Session(("trainer", "resume", str(run))))
    assert isinstance(last, RunFinished)
    return last


def open_on_cpu(run: Path) -> Predictor:
    return open_predictor(run, device="cpu", allow_custom=False)


def predict_table(run: Path, table: Path, *keep: str):
    return predict_file(open_on_cpu(run), table, keep=keep)


def evaluate_run(run: Path, *splits: str, data: Path | None = None):
    return evaluate(open_on_cpu(run), splits=splits, data=data)


def file_times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small(tmp_path):
    """The config of the small table, in a separate folder."""
    return write_small(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Iterator[Callable[..., RunFinished]]:
    """Return a finished run of the small table with overrides, trained once per session.

    The runs are shared: a test that writes to one copies it first.
    """
    config = write_small(tmp_path_factory.mktemp("trained"))
    runs: dict[tuple[str, ...], RunFinished] = {}
    times: dict[Path, int] = {}

    def run(*overrides: str) -> RunFinished:
        if overrides not in runs:
            runs[overrides] = run_fit(config, config.parent / "runs", *overrides)
            times.update(file_times(runs[overrides].run))
        return runs[overrides]

    yield run
    changed = times.items() ^ file_times(config.parent / "runs").items()
    assert not changed, f"a test wrote to a shared run: {changed}"


@pytest.fixture(scope="session")
def finished(trained) -> RunFinished:
    """A finished run with a one-hot encoded column."""
    return trained()


@pytest.fixture(scope="session", params=["onehot", "embedding"])
def encoded(request, trained) -> RunFinished:
    """A finished run for each encoding of its categorical column."""
    if request.param == "onehot":
        return trained()
    return trained("data.categorical.encode=embedding")


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of a finished run, to write to."""
    return Path(shutil.copytree(finished.run, tmp_path / "copied"))


@pytest.fixture(scope="session")
def folds_run(tmp_path_factory) -> MembersFinished:
    """Two repeats of two folds; `run.parents[2]` has the config and the table."""
    config = write_small(tmp_path_factory.mktemp("several"))
    return run_members(config, config.parent / "runs", "fit.folds=2", "fit.repeats=2")


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory) -> Folder:
    """A pack that was trained without a break."""
    root = tmp_path_factory.mktemp("uninterrupted")
    write_table(root / "small.csv")
    (root / "config.yaml").write_text(folders.CONFIG, encoding="utf-8")
    folder = Folder(root / "runs", root / "config.yaml")
    assert [member.status for member in folder.train()] == ["finished"] * len(folders.MEMBERS)
    return folder
