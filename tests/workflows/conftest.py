"""A small table, and one run of it that many tests read."""

from pathlib import Path

import numpy as np
import pytest

from trainer.config.load import load_config
from trainer.engine import devices
from trainer.workflows.fit import fit_run
from trainer.workflows.training import RunFinished

CONFIG = """\
name: small
seed: 3
data:
  source: small.csv
  target: label
  features: {exclude: [id]}
  categorical: {encode: ENCODE}
model:
  layers:
    - dense: {units: 6, activation: relu}
    - batch_normalization
    - dropout: 0.1
optimizer: {name: adam, learning_rate: 0.01}
fit: {epochs: 4, batch_size: 16}
# Tests of the report ask for it; it takes longer than such a training.
evaluate: {report: false}
"""


@pytest.fixture(scope="session", autouse=True)
def _tensorflow():
    devices.start("cpu", 1)


def write_table(path: Path, rows: int = 120, seed: int = 0) -> None:
    draw = np.random.default_rng(seed)
    lines = ["id,size,colour,label"]
    for row in range(rows):
        size = draw.normal()
        colour = ["red", "green", "blue"][draw.integers(3)]
        label = "yes" if size + (colour == "red") + 0.3 * draw.normal() > 0.3 else "no"
        lines.append(f"p{row},{size:.4f},{'' if row % 11 == 5 else colour},{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_fit(config: Path, runs: Path, *overrides: str, allow_custom: bool = False) -> RunFinished:
    loaded = load_config(config, overrides)
    events = list(
        fit_run(
            loaded,
            runs=runs,
            command=("trainer", "fit", str(config)),
            allow_custom=allow_custom,
            interrupted=lambda: None,
        )
    )
    assert isinstance(events[-1], RunFinished)
    return events[-1]


@pytest.fixture(scope="session", params=["onehot", "embedding"])
def finished(request, tmp_path_factory):
    """A finished run of the small table, with its folder beside the data."""
    folder = tmp_path_factory.mktemp(request.param)
    write_table(folder / "small.csv")
    config = folder / "config.yaml"
    config.write_text(CONFIG.replace("ENCODE", request.param), encoding="utf-8")
    return run_fit(config, folder / "runs")


@pytest.fixture
def small(tmp_path):
    """The small table's config in a folder of its own."""
    write_table(tmp_path / "small.csv")
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("ENCODE", "onehot"), encoding="utf-8")
    return config
