import pytest
from PIL import Image

from tests.data.images import make_images
from trainer.config.load import load_config
from trainer.data.config_proposal import propose_config
from trainer.errors import DataError
from trainer.workflows.plan import make_plan


def proposed(folder):
    config = folder.parent / "c.yaml"
    proposal = propose_config(folder, (), config)
    config.write_text(proposal.text)
    return load_config(config), proposal


@pytest.mark.parametrize(
    ("size", "mode", "expected"),
    [
        ((28, 28), "L", (28, 28, 1)),
        ((40, 30), "RGB", (30, 40, 3)),
        ((96, 96), "1", (96, 96, 1)),
        ((500, 500), "RGB", (96, 96, 3)),
        ((130, 75), "RGBA", (64, 64, 3)),
        ((9, 500), "RGB", (32, 32, 3)),
    ],
)
def test_the_size_and_colour_of_the_images(tmp_path, size, mode, expected):
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for index in range(12):
            Image.new(mode, size).save(tmp_path / "photos" / label / f"{index}.png")
    loaded, proposal = proposed(tmp_path / "photos")
    assert loaded.config.data.image.shape == expected
    assert (proposal.findings.rows, proposal.findings.task) == (24, "binary")
    plan = make_plan(loaded)
    assert plan.dataset.preprocessing.inputs[0].shape == expected
    assert plan.layers[-3].output_shape in ((128,), (64,), (256,))


def test_effort(tmp_path):
    folder = make_images(tmp_path / "photos", count=2, size=300)
    texts = [propose_config(folder, (), None, (), effort).text for effort in ("quick", "best")]
    assert "{resize: 54, crop: 48}" in texts[0]
    assert "epochs: 20" in texts[0]
    assert "{resize: 180, crop: 160}" in texts[1]


def test_turned_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for index in range(4):
            path = tmp_path / "photos" / label / f"{index}.jpg"
            Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert proposed(tmp_path / "photos")[0].config.data.image.shape == (40, 20, 3)


def test_folders_of_splits(tmp_path):
    for name in ("train", "val", "test"):
        make_images(tmp_path / "photos" / name, ["a", "b", "c"], 4)
    loaded, proposal = proposed(tmp_path / "photos")
    assert loaded.config.data.source.validation == str(tmp_path / "photos" / "val")
    assert proposal.findings.classes == {"a": 12, "b": 12, "c": 12}
    assert make_plan(loaded).dataset.rows("validation") == 12


def test_odd_class_names(tmp_path):
    names = ["null", "1e3", "a: b # c", "'x'", "new\nline", "🐈", "true"]
    make_images(tmp_path / "my photos: 2", names, 4)
    loaded, proposal = proposed(tmp_path / "my photos: 2")
    assert set(proposal.findings.classes) == set(names)
    assert set(make_plan(loaded).dataset.preprocessing.target.classes) >= {"null", "1e3", "🐈"}


def test_problems(tmp_path):
    folder = make_images(tmp_path / "one", ["a"], 2)
    with pytest.raises(DataError, match=r"two or more classes, found 1 class, 'a'"):
        propose_config(folder, (), None)
    broken = make_images(tmp_path / "broken", ["a", "b"], 2)
    (broken / "a" / "0.png").write_bytes(b"text")
    warning = propose_config(broken, (), None).findings.warnings[0]
    assert warning.startswith("1 of 4 files are broken")
    for path in broken.rglob("*.*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="expected an image, found none in 4 files"):
        propose_config(broken, (), None)
