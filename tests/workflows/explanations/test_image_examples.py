"""The images of a run that its report shows."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.data.images import make_images
from trainer.config.load import load_config
from trainer.data.prepare import prepare
from trainer.metrics.predictions import Predictions
from trainer.runs.directory import RunDirectory
from trainer.runs.images import read_images
from trainer.workflows.explanations.image_examples import write_image_examples


@pytest.fixture
def dataset(tmp_path):
    make_images(tmp_path / "photos")
    (tmp_path / "c.yaml").write_text(
        "data: {source: photos, image: {size: 7}, split: {test: 0.4}}\n"
    )
    return prepare(load_config(tmp_path / "c.yaml").config)


def predictions_of(dataset, split):
    """Return predictions of which every third is wrong."""
    samples = dataset.samples(split)
    p = np.where(samples.y > 0.5, 0.8, 0.3)
    p[::3] = 1 - p[::3]
    names = dataset.preprocessing.target.classes
    return Predictions("binary", names, samples.y, p, samples.rows)


def test_the_images_of_the_test_rows(dataset, tmp_path):
    run = RunDirectory(tmp_path)
    test = predictions_of(dataset, "test")
    write_image_examples(run, dataset, {"train": test, "test": test}, 0.5)
    images = read_images(run)
    assert images.split == "test"
    assert [image.row for image in images.images] == sorted(test.rows)
    samples, paths = dataset.samples("test"), dataset.table.frame["path"]
    for image in images.images:
        (position,) = np.flatnonzero(samples.rows == image.row)
        assert image.path == paths[image.row]
        shown = np.asarray(Image.open(io.BytesIO(image.content)))
        assert np.array_equal(shown, samples.inputs["image"][position : position + 1][0])
    is_wrong = (test.p[:, 0] >= 0.5) != (test.y[:, 0] > 0.5)
    explained = np.isin(test.rows, images.explained)
    assert explained[is_wrong].all()
    assert len(images.explained) == is_wrong.sum() + min(6, (~is_wrong).sum())


def test_files_that_changed_after_training(dataset, tmp_path):
    test = predictions_of(dataset, "test")
    for path in (tmp_path / "photos").rglob("*.*"):
        path.write_bytes(b"")
    write_image_examples(RunDirectory(tmp_path), dataset, {"test": test}, 0.5)
    assert read_images(RunDirectory(tmp_path)) is None
