import numpy as np
import pytest
from PIL import Image

from tests.data.images import make_images
from trainer.audit.checks import audit
from trainer.audit.loading import read_audited_table
from trainer.config.load import load_config


@pytest.fixture
def findings(tmp_path):
    """Audit the folders `train` and `test` of images."""
    for split in ("train", "test"):
        make_images(tmp_path / split, count=6, size=40 if split == "train" else 44)

    def run():
        path = tmp_path / "c.yaml"
        path.write_text(
            "data: {source: {train: train, test: test}, image: {size: 24}, split: {validation: 0}}\n"
        )
        config = load_config(path).config
        found = audit(read_audited_table(config)[1], config)
        return {finding.kind: finding for finding in found}

    return tmp_path, run


def test_distinct_images(findings):
    assert findings[1]() == {}


def test_the_same_file_in_two_splits(findings):
    folder, run = findings
    (folder / "test/cat/copy.jpg").write_bytes((folder / "train/cat/0.png").read_bytes())
    (finding,) = run().values()
    assert (finding.kind, finding.severity) == ("duplicate_rows", "error")
    assert finding.affected.rows == (f"{folder}/test/cat/copy.jpg",)


def test_the_same_picture_in_two_splits(findings):
    folder, run = findings
    pixels = np.random.default_rng(1).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((300, 200), Image.Resampling.BICUBIC)
    picture.save(folder / "train/dog/picture.png")
    picture.resize((150, 100)).save(folder / "test/dog/resized.jpg", quality=60)
    picture.rotate(180).save(folder / "test/dog/turned.jpg")
    (finding,) = run().values()
    assert (finding.kind, finding.severity) == ("near_duplicate_rows", "warning")
    assert "1 of 14 test rows that look like an image of another split" in finding.found


def test_the_same_file_in_two_classes(findings):
    folder, run = findings
    (folder / "train/dog/copy.png").write_bytes((folder / "train/cat/0.png").read_bytes())
    (finding,) = run().values()
    assert finding.kind == "conflicting_rows"
    assert set(finding.affected.rows) == {
        f"{folder}/train/cat/0.png",
        f"{folder}/train/dog/copy.png",
    }


def test_broken_images(findings):
    folder, run = findings
    for name in ("train/cat/0.png", "test/dog/0.png"):
        (folder / name).write_bytes(b"")
    (finding,) = run().values()
    assert (finding.kind, finding.severity, finding.affected.count) == ("broken_images", "error", 2)
    assert finding.found == "2 files that cannot: no bytes"
