"""Small images, a network in a file, and a config that has it in front of its layers."""

import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tests.data.images import make_images
from tests.models.pretrained.networks import small_network
from tests.workflows.conftest import run_fit

CONFIG = """\
name: photos
data:
  source: photos
  image: {size: 12}
model:
  pretrained: net.keras
  layers: [{dense: {units: 6, activation: relu}}]
optimizer: {name: adam, learning_rate: 0.01}
fit: {epochs: 3, batch_size: 8}
evaluate: {report: false}
"""


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A folder with images, a network and a config."""
    folder = tmp_path_factory.mktemp("pretrained")
    make_images(folder / "photos", count=20, size=12)
    for path in (folder / "photos").rglob("*.*"):
        # Images of the size of the input are not resized.
        image = Image.open(path).crop((0, 0, 12, 12))
        path.unlink()
        image.save(path.with_suffix(".png"))
    small_network().save(folder / "net.keras")
    (folder / "c.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def config(template, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(template, tmp_path / "work")
    return tmp_path / "work" / "c.yaml"


@pytest.fixture(scope="session")
def run(template, tmp_path_factory):
    """A finished run, which tests only read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return run_fit(template / "c.yaml", tmp_path_factory.mktemp("runs"))


def pixels_of(plan, split):
    rows = plan.dataset.samples(split).rows
    paths = plan.dataset.table.frame["path"].gather(rows)
    return np.stack([np.asarray(Image.open(path)) for path in paths]).astype(np.float32)


def write_table_of_images(config):
    """Write a table with the images, numbers and categories; return it and the override for it."""
    paths = sorted((config.parent / "photos").rglob("*.png"))
    frame = pl.DataFrame(
        {
            "file": [str(path.relative_to(config.parent)) for path in paths],
            "age": range(len(paths)),
            "town": ["ABC"[index % 3] for index in range(len(paths))],
            "price": [3.0 * ("cat" in str(path)) + index / 10 for index, path in enumerate(paths)],
        }
    )
    frame.write_csv(config.parent / "t.csv")
    columns = "columns: {file: {kind: image}, town: {encode: embedding}}, image: {size: 12}"
    data = f"data={{source: {config.parent}/t.csv, target: price, {columns}}}"
    return frame, data
