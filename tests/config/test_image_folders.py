import pytest

from trainer.config.load import load_config
from trainer.errors import ConfigError


@pytest.fixture
def photos(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").touch()
    return tmp_path


def loaded(tmp_path, data):
    path = tmp_path / "c.yaml"
    path.write_text(f"data: {data}\n")
    return load_config(path).config.data


@pytest.mark.parametrize("source", ["photos", "[photos]", "{train: photos, test: photos}"])
def test_a_folder_of_images_implies_target_and_kinds(photos, source):
    data = loaded(photos, f"{{source: {source}}}")
    assert data.target == "label"
    assert data.columns["path"].kind == "image"
    assert data.columns["label"].kind == "categorical"


def test_explicit_settings_are_kept(photos):
    data = loaded(photos, "{source: photos, target: path, columns: {path: {kind: categorical}}}")
    assert (data.target, data.columns["path"].kind) == ("path", "categorical")


def test_other_folders_imply_nothing(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.csv").touch()
    with pytest.raises(ConfigError, match=r"data\.target"):
        loaded(tmp_path, "{source: tables}")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("{size: 0}", "a number of pixels from 1 to 16384"),
        ("{size: [1, 2, 3]}", "a list of 2 numbers of pixels"),
        ("{size: 8, resize: 8, crop: 8}", "either size, or resize with crop"),
        ("{resize: 8}", "no crop; set data.image.crop"),
        ("{crop: 8}", "no resize; set data.image.resize"),
        ("{resize: 8, crop: [9, 2]}", "a crop of at most data.image.resize, 8"),
        ("{color: gray}", "grey"),
        ("{scale: {mean: [0, 0], std: 1}}", "list"),
        ("{scale: {mean: [0, 0], std: [1]}}", "one number, or 3, found 2 numbers"),
        ("{color: grey, scale: {mean: [0], std: [1, 1, 1]}}", "one number, or 1, found 3 numbers"),
        ("{scale: {mean: [0], std: [0]}}", "above 0"),
        ("{broken: skip}", "drop"),
    ],
)
def test_invalid_settings_are_reported_at_their_line(photos, image, message):
    with pytest.raises(ConfigError) as error:
        loaded(photos, f"{{source: photos, image: {image}}}")
    assert message in str(error.value)
    assert "c.yaml:1:" in str(error.value)


def test_image_settings_need_images(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    with pytest.raises(ConfigError, match="a folder of images or a column of kind image"):
        loaded(tmp_path, "{source: t.csv, target: y, image: {size: 8}}")
    with pytest.raises(ConfigError, match="one column of images, found 'a' and 'b'"):
        loaded(
            tmp_path,
            "{source: t.csv, target: y, columns: {a: {kind: image}, b: {kind: image}}}",
        )
    with pytest.raises(ConfigError, match="settings of an image column"):
        loaded(tmp_path, "{source: t.csv, target: y, columns: {a: {kind: image, scale: minmax}}}")


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        ("{}", (224, 224, 3)),
        ("{size: 32}", (32, 32, 3)),
        ("{size: [20, 30], color: grey}", (20, 30, 1)),
        ("{resize: 40, crop: [20, 30]}", (20, 30, 3)),
    ],
)
def test_shapes(photos, image, shape):
    assert loaded(photos, f"{{source: photos, image: {image}}}").image.shape == shape
