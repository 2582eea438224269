"""The configs that `trainer init --task generate` writes for tables and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.data.images import make_images
from trainer.config.load import load_config
from trainer.data.generation_proposal import propose_generation
from trainer.data.proposals import Proposal
from trainer.errors import DataError
from trainer.workflows.generation.plan import GenerationPlan, make_generation_plan

ROWS = 400
COLUMNS = {
    "id": [f"patient {row}" for row in range(ROWS)],
    "age": [20 + row * 7 % 60 for row in range(ROWS)],
    "size": [None if row % 9 == 2 else row * 0.37 % 5 for row in range(ROWS)],
    "color": [("red", "green", "blue")[row * row % 3] for row in range(ROWS)],
    "day": [f"2024-03-{1 + row % 28:02d}" for row in range(ROWS)],
    "fixed": ["x"] * ROWS,
    "kind": [("a", "b")[row % 5 == 0] for row in range(ROWS)],
}


def proposed(
    folder: Path, source: Path, target: str | None = None, effort: Any = "balanced"
) -> tuple[Proposal, GenerationPlan]:
    """Return a proposal, and the plan of the config that it writes."""
    config = folder / "c.yaml"
    proposal = propose_generation(source, target, config, (), effort)
    config.write_text(proposal.text)
    return proposal, make_generation_plan(load_config(config))


def write(path: Path, columns: dict[str, Any]) -> Path:
    pl.DataFrame(columns).write_csv(path)
    return path


@pytest.mark.parametrize("target", [None, "kind"])
def test_a_table_without_and_with_classes(tmp_path: Path, target: str | None) -> None:
    source = write(tmp_path / "my table.csv", COLUMNS)
    proposal, plan = proposed(tmp_path, source, target)
    rows = plan.dataset.preprocessing
    names = ["age", "size", "color", "day", "fixed", "kind"]
    assert [column.name for column in rows.columns] == [n for n in names if n != target]
    assert rows.condition == (target is not None)
    assert "- id  # identifies the row" in proposal.text
    assert proposal.findings.task == "generate"
    assert plan.warnings == ()
    # Comments do not promise what the networks do not have.
    assert ("--class" in proposal.text) == (target is not None)
    assert 1_500 <= plan.total_steps <= 6_000


def test_sizes_grow_with_rows_and_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    few = write(tmp_path / "few.csv", {name: rng.normal(size=30) for name in "abc"})
    names = [f"column {index}" for index in range(130)]
    many = write(tmp_path / "many.csv", {name: rng.normal(size=1_500) for name in names})
    small, large = (proposed(tmp_path, source)[1] for source in (few, many))
    assert small.parameters < 15_000 < 100_000 < large.parameters
    assert small.config.fit.batch_size < large.config.fit.batch_size
    assert small.config.generation.latent < large.config.generation.latent
    quick = proposed(tmp_path, many, None, "quick")[1]
    assert quick.total_steps < large.total_steps / 2


def test_columns_that_cannot_be_generated_are_left_out(tmp_path: Path) -> None:
    words = ["the", "cat", "sat", "on", "a", "red", "mat", "and", "ran", "home", "again"]
    texts = [" ".join(np.random.default_rng(row).permutation(words)) for row in range(1_500)]
    codes = [f"c{row % 1_400}" for row in range(1_500)]
    columns = {"note": texts, "code": codes, "x": np.arange(1_500) % 37, "none": [None] * 1_500}
    proposal, plan = proposed(tmp_path, write(tmp_path / "t.csv", columns))
    assert [column.name for column in plan.dataset.preprocessing.columns] == ["x"]
    assert "- note  # texts, which are not generated" in proposal.text
    assert "- code  # 1,400 different values, too many for categories" in proposal.text


def test_pixels_in_columns_are_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = {f"pixel_{index // 5}_{index % 5}": rng.integers(0, 17, 90) for index in range(25)}
    source = write(tmp_path / "digits.csv", {**pixels, "digit": np.arange(90) % 3})
    proposal, plan = proposed(tmp_path, source, "digit")
    assert plan.shape.sample.shape == (5, 5, 1)
    assert "images of 5 × 5 pixels" in proposal.findings.reason
    assert plan.dataset.preprocessing.classes == ("0", "1", "2")
    source = write(tmp_path / "p.csv", {f"price {i}": rng.normal(size=90) for i in range(25)})
    assert not proposed(tmp_path, source)[1].shape.is_image


@pytest.mark.parametrize(
    ("size", "effort", "shape"),
    [(28, "balanced", (28, 32, 3)), (100, "balanced", (48, 48, 3)), (100, "quick", (32, 32, 3))],
)
def test_a_folder_with_classes(
    tmp_path: Path, size: int, effort: Any, shape: tuple[int, int, int]
) -> None:
    folder = make_images(tmp_path / "photos", count=12, size=size)
    _, plan = proposed(tmp_path, folder, None, effort)
    assert plan.shape.sample.shape == shape
    assert plan.dataset.preprocessing.condition
    # The head of a generator of large images is a convolution.
    assert plan.convolutional


def test_a_folder_without_subfolders_has_no_classes(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "photos", count=12, size=10)
    for path in list(folder.glob("*/*")):
        path.rename(folder / f"{path.parent.name}_{path.name}")
    for path in folder.iterdir():
        if path.is_dir():
            path.rmdir()
    proposal, plan = proposed(tmp_path, folder)
    assert not plan.dataset.preprocessing.condition
    assert plan.dataset.rows("train") > 10
    assert "condition" not in proposal.text


def test_a_config_that_is_used_immediately_has_a_name_and_an_absolute_path(tmp_path: Path) -> None:
    source = write(tmp_path / "my table.csv", COLUMNS)
    text = propose_generation(source, "kind", None, overrides=["fit.epochs=3"]).text
    assert "trainer fit proposed.yaml fit.epochs=3" in text
    assert f"source: {source.absolute()}" in text
    config = tmp_path / "proposed.yaml"
    config.write_text(text)
    assert load_config(config).config.name == "my-table"


@pytest.mark.parametrize(
    ("target", "rows", "words"),
    [
        ("id", ROWS, "leave out --target"),
        ("fixed", ROWS, "found 1 value"),
        ("kinds", ROWS, "did you mean 'kind'"),
        ("kind", 10, "at least 20 rows"),
    ],
)
def test_problems(tmp_path: Path, target: str, rows: int, words: str) -> None:
    columns = {name: values[:rows] for name, values in COLUMNS.items()}
    source = write(tmp_path / "t.csv", columns)
    with pytest.raises(DataError, match=words):
        propose_generation(source, target, None)
