"""Small tables for generators, and a finished run of each that tests share and only read."""

from pathlib import Path

import numpy as np
import pytest

from tests.workflows.conftest import run_fit

ROWS = """\
name: rows
seed: 5
data:
  source: table.csv
  task: generate
  target: kind
networks:
  generator:
    layers: [{dense: {units: 16, activation: relu}}, batch_normalization]
    optimizer: {name: adam, learning_rate: 1e-3, beta_1: 0.5, ema: 0.9}
  discriminator:
    layers: [{dense: {units: 16, activation: leaky_relu}}, {dropout: 0.1}]
generation: {latent: 4, instance_noise: {stddev: 0.1, over: 2 epochs}, measured: 100}
fit: {epochs: 3, batch_size: 32}
runtime: {jit_compile: false}
"""

IMAGES = """\
name: images
seed: 5
data:
  source: pixels.csv
  task: generate
  target: digit
networks:
  generator:
    layers: [{dense: {units: 16, activation: relu}}]
  discriminator:
    layers: [flatten, {dense: {units: 16, activation: leaky_relu}}]
generation: {latent: 4, condition: true, image: [4, 3], measured: 60}
fit: {epochs: 2, batch_size: 32}
runtime: {jit_compile: false}
"""


def write_rows(path: Path, count: int = 400) -> None:
    """Write numbers, an integer, a category, a date and a class, some of them missing."""
    rng = np.random.default_rng(2)
    lines = ["size,count,color,day,kind"]
    for row in range(count):
        size = rng.normal()
        color = "" if row % 9 == 4 else ("red", "green")[int(size > 0)]
        day = f"2024-0{1 + row % 9}-{10 + row % 18}"
        shown = "" if row % 7 == 3 else f"{size:.2f}"
        lines.append(f"{shown},{rng.poisson(30)},{color},{day},{'ab'[int(rng.random() < 0.3)]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_pixels(path: Path, count: int = 300) -> None:
    """Write images of 4 × 3 pixels from 0 to 16, of two kinds."""
    rng = np.random.default_rng(3)
    lines = [",".join([*(f"p{index}" for index in range(12)), "digit"])]
    for row in range(count):
        pixels = np.zeros((4, 3), np.int64)
        pixels[:, row % 2 * 2] = rng.integers(8, 17, 4)
        lines.append(",".join(map(str, [*pixels.ravel(), row % 2])))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_config(folder: Path, text: str) -> Path:
    write_rows(folder / "table.csv")
    write_pixels(folder / "pixels.csv")
    config = folder / "config.yaml"
    config.write_text(text, encoding="utf-8")
    return config


@pytest.fixture(scope="session")
def rows_run(tmp_path_factory):
    config = write_config(tmp_path_factory.mktemp("rows"), ROWS)
    return run_fit(config, config.parent / "runs")


@pytest.fixture(scope="session")
def images_run(tmp_path_factory):
    config = write_config(tmp_path_factory.mktemp("images"), IMAGES)
    return run_fit(config, config.parent / "runs")
