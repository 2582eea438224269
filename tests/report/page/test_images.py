"""Images in the page of a run, and its size."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from tests.report.page.html_checks import check_page
from tests.report.page.predicted_runs import HOSTILE, PLAIN, make_predicted_run, make_predictions
from tests.report.run_files import NOW
from trainer.assessment.image_examples import choose_image_examples
from trainer.data.thumbnails import heat_map_file, thumbnails
from trainer.report.page.content import Gallery, TableBlock
from trainer.report.page.html import page_html
from trainer.report.page.images import prediction_text
from trainer.report.page.markdown import page_markdown
from trainer.report.page.writing import run_page
from trainer.report.predictions import predictions_to_parquet
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.heat_maps import HeatMap, HeatMapsFile, write_heat_maps
from trainer.runs.images import ImagesFile, ShownImage, write_images
from trainer.task_names import TaskName
from trainer.tasks.registry import get_task_kind
from trainer.workflows.explanations.image_examples import _MAX_BYTES

TASKS: dict[TaskName, tuple[str, ...]] = {
    "binary": PLAIN[:2],
    "multiclass": PLAIN[:3],
    "multilabel": PLAIN[:3],
    "regression": PLAIN[:2],
}


def threshold_of(run: RunDirectory) -> float:
    decisions = read_decisions(run)
    assert decisions is not None
    return decisions.threshold


def add_images(
    run: RunDirectory, task: TaskName, names: tuple[str, ...], rows: int, side: int = 6
) -> None:
    predictions, threshold = make_predictions(task, names, rows), threshold_of(run)
    positions = choose_image_examples(predictions, threshold).positions
    generator = np.random.default_rng(0)
    pixels = [generator.integers(0, 256, (side, side, 3)).astype(np.uint8) for _ in positions]
    images = tuple(
        ShownImage(position, f"{HOSTILE[1]}/{position}.png", base64.b64encode(file).decode())
        for position, file in zip(positions, thumbnails(pixels, _MAX_BYTES), strict=True)
    )
    write_images(run, ImagesFile("test", images))


@pytest.mark.parametrize("task", TASKS)
def test_galleries(tmp_path: Path, task: TaskName) -> None:
    run = make_predicted_run(tmp_path, task, TASKS[task])
    assert "Images" not in [section.title for section in run_page(run, NOW).sections]
    add_images(run, task, TASKS[task], 60)
    page = run_page(run, NOW)
    (images,) = [section for section in page.sections if section.key == "images"]
    galleries = [block for block in images.blocks if isinstance(block, Gallery)]
    assert len(galleries) == len(images.blocks) >= 2
    predictions, threshold = make_predictions(task, TASKS[task], 60), threshold_of(run)
    examples = choose_image_examples(predictions, threshold)
    first = galleries[0].pictures
    assert [picture.caption for picture in first] == [
        prediction_text(predictions, position, threshold) for position in examples.mistakes
    ]
    text = page_html(page, with_plots=False)
    shown = check_page(text).find_all("img")
    assert len(shown) >= sum(len(gallery.pictures) for gallery in galleries)
    assert any(HOSTILE[1] in (attributes["alt"] or "") for attributes in shown)
    assert HOSTILE[1] not in text
    assert "data:image" not in page_markdown(page)


def test_captions() -> None:
    predictions = make_predictions("multiclass", PLAIN[:3], 60)
    wrong = int(np.flatnonzero(predictions.p.argmax(axis=1) != predictions.y.argmax(axis=1))[0])
    right = int(np.flatnonzero(predictions.p.argmax(axis=1) == predictions.y.argmax(axis=1))[0])
    names, p = PLAIN, predictions.p
    guess, truth = int(p[wrong].argmax()), int(predictions.y[wrong].argmax())
    text = f"{names[guess]} {p[wrong].max():.2f}, actual {names[truth]}"
    assert prediction_text(predictions, wrong, 0.5) == text
    text = f"{names[int(p[right].argmax())]} {p[right].max():.2f}"
    assert prediction_text(predictions, right, 0.5) == text


def test_confusion_matrix_has_examples(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path, "multiclass", PLAIN[:3])
    add_images(run, "multiclass", PLAIN[:3], 60)
    blocks = next(s for s in run_page(run, NOW).sections if s.key == "classes").blocks
    (table,) = [block for block in blocks if isinstance(block, TableBlock) and block.pictures]
    for (row, column), pictures in table.pictures.items():
        assert int(table.table.rows[row][column].split()[0]) >= len(pictures) > 0
        right = row == column - 1
        assert all((", actual" not in picture.description) == right for picture in pictures)


def test_size(tmp_path: Path) -> None:
    names = tuple(f"class {index}" for index in range(12))
    run = make_predicted_run(tmp_path, "multiclass", names, rows=600, resamples=10)
    add_images(run, "multiclass", names, 600, side=120)
    add_heat_maps(run, 24, size=200)
    # Plots add at most 600 kB.
    assert len(page_html(run_page(run, NOW), with_plots=False)) < 4_400_000


def test_damaged_file(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    image = '{"split": "test", "images": [{"row": 0, "path": "a", "thumbnail": "é!"}]}'
    for content in ("{", '{"split": 3}', image):
        run.write_explanation("images.json", content.encode())
        page = run_page(run, NOW)
        assert "Images" not in [section.title for section in page.sections]
        assert "images.json" in page_html(page, with_plots=False)


def test_predictions_of_other_rows(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    add_images(run, "binary", PLAIN[:2], 60)
    other = make_predictions("binary", PLAIN[:2], 60, first=1_000)
    columns = get_task_kind("binary").prediction_names(PLAIN[:2])
    run.write_predictions("test.parquet", predictions_to_parquet(other, columns))
    assert "Images" not in [section.title for section in run_page(run, NOW).sections]


def add_heat_maps(run: RunDirectory, count: int, size: int = 60) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    pictures = [heat_map_file(noise, [np.eye(4), np.eye(3)])] * count
    images = tuple(HeatMap(row, HOSTILE[1], "yes", 0.75, "no") for row in range(count))
    write_heat_maps(run, HeatMapsFile(HOSTILE[0], True, images), pictures, b"")


def test_heat_maps(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    add_heat_maps(run, 5)
    add_heat_maps(run, 3)
    names = sorted(path.name for path in run.explanation.glob("heat_map*"))
    pictures = [f"heat_map_{number:04d}.jpg" for number in (1, 2, 3)]
    assert names == sorted([*pictures, "heat_maps.json", "heat_maps.npz"])
    page = run_page(run, NOW)
    (images,) = [section for section in page.sections if section.key == "images"]
    gallery = images.blocks[-1]
    assert isinstance(gallery, Gallery)
    assert [picture.caption for picture in gallery.pictures] == ["yes 0.7500, actual no"] * 3
    text = page_html(page, with_plots=False)
    check_page(text)
    assert HOSTILE[0] not in text
    (run.explanation / pictures[1]).unlink()
    damaged = page_html(run_page(run, NOW), with_plots=False)
    assert f"Damaged file: {run.explanation / pictures[1]}" in damaged


def test_many_heat_maps(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    add_heat_maps(run, 40, size=200)
    text = page_html(run_page(run, NOW), with_plots=False)
    assert len(text) < 1_000_000
    assert "of 40 images in explanation/" in text
