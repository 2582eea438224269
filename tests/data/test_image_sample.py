"""Sizes and examples of the images of a table."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tests.data.images import make_images
from trainer.config.load import load_config
from trainer.data.image_decoding import decode_image
from trainer.data.image_sample import class_examples, sample_headers
from trainer.data.prepare import prepare


@pytest.fixture
def photos(tmp_path):
    return make_images(tmp_path / "photos", labels=("a", "b", "c"), count=15, size=6)


def prepared(tmp_path, data):
    path = tmp_path / "c.yaml"
    path.write_text(f"data: {data}\n")
    return prepare(load_config(path).config)


def test_headers(photos):
    Image.new("L", (5, 9)).save(photos / "a" / "0.png")
    (photos / "a" / "1.jpg").write_bytes(b"text")
    paths = pl.Series([*sorted(map(str, photos.rglob("*.*"))), None, "gone.png"])
    sample = sample_headers(paths)
    assert sample.files == 46
    assert sample.sizes == [((10, 6), 43), ((5, 9), 1)]
    assert sample.size_text() == "10 × 6 (43), 5 × 9 (1)"
    assert dict(sample.broken) == {
        str(photos / "a" / "1.jpg"): "not an image that Pillow can read",
        "gone.png": "no such file or directory",
    }


def test_many_sizes(tmp_path):
    paths = []
    for side in range(1, 401):
        paths.append(str(tmp_path / f"{side}.png"))
        Image.new("L", (side, 2)).save(paths[-1])
    sample = sample_headers(pl.Series(paths))
    assert sample.files == 300
    assert sample.size_text() == "1 × 2 (1), 2 × 2 (1), 3 × 2 (1), 297 other sizes"


def test_examples_of_classes(photos, tmp_path):
    broken = sorted((photos / "b").iterdir())[0]
    broken.write_bytes(b"text")
    dataset = prepared(tmp_path, "{source: photos, image: {size: 8}}")
    examples = class_examples(dataset)
    assert [shown.name for shown in examples] == ["a", "b", "c"]
    for shown in examples:
        assert len(shown.paths) + len(shown.broken) == 10
        assert all(f"/photos/{shown.name}/" in path for path in shown.paths)
        for path, file in zip(shown.paths, shown.thumbnails, strict=True):
            expected = decode_image(path, dataset.preprocessing.image.geometry).pixels
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), expected)
    assert [path for shown in examples for path, _ in shown.broken] == [str(broken)]


def test_examples_of_numbers(photos, tmp_path):
    paths = sorted(map(str, photos.rglob("*.*")))
    frame = pl.DataFrame({"file": paths, "y": [index / 7 for index in range(45)]})
    frame.write_csv(tmp_path / "t.csv")
    data = "{source: t.csv, target: y, columns: {file: {kind: image}}, image: {size: 4}}"
    (examples,) = class_examples(prepared(tmp_path, data))
    assert (examples.name, len(examples.paths)) == ("", 45)
