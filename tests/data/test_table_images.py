import numpy as np
import polars as pl
import pytest

from tests.data.images import make_images
from trainer.config.load import load_config
from trainer.data.dataset import Dataset
from trainer.data.image_decoding import decode_image
from trainer.data.new_data import prediction_batches
from trainer.data.prepare import prepare
from trainer.data.preprocessing import Preprocessing
from trainer.errors import DataError
from trainer.inputs import FEATURES, IMAGE, UNIT_SCALING, InputSpec


@pytest.fixture
def prepared(tmp_path):
    def run(data, *, streamed=False) -> Dataset:
        path = tmp_path / "c.yaml"
        path.write_text(f"data: {data}\n")
        return prepare(load_config(path).config, streamed=streamed)

    return run


@pytest.fixture
def photos(tmp_path):
    return make_images(tmp_path / "photos")


def decoded(dataset, split):
    rows = dataset.samples(split).rows
    geometry = dataset.preprocessing.image.geometry
    paths = dataset.table.frame["path"][rows.tolist()]
    return np.stack([decode_image(path, geometry).pixels for path in paths])


@pytest.mark.parametrize("streamed", [False, True])
def test_the_input_is_the_decoded_images(photos, prepared, streamed):
    data = "{source: photos, image: {size: [8, 6], color: grey}, split: {test: 0.3}}"
    dataset = prepared(data, streamed=streamed)
    assert dataset.preprocessing.inputs == (InputSpec(IMAGE, (8, 6, 1), "uint8"),)
    assert dataset.preprocessing.target.classes == ("cat", "dog")
    for split, rows in (("train", 10), ("validation", 4), ("test", 6)):
        samples = dataset.samples(split)
        assert samples.inputs[IMAGE].shape == (rows, 8, 6, 1)
        assert np.array_equal(samples.inputs[IMAGE][:], decoded(dataset, split))
        samples.release_pages()


def test_named_folders_are_splits(tmp_path, prepared):
    make_images(tmp_path / "photos" / "train", count=6)
    make_images(tmp_path / "photos" / "test", count=2)
    source = "{train: photos/train, test: photos/test}"
    dataset = prepared(f"{{source: {source}, image: {{size: 4}}, split: {{validation: 0}}}}")
    assert {name: dataset.rows(name) for name in ("train", "validation", "test")} == {
        "train": 12,
        "validation": 0,
        "test": 4,
    }


def test_numeric_labels_are_classes(tmp_path, prepared):
    make_images(tmp_path / "digits", [str(number) for number in range(25)], count=3)
    dataset = prepared("{source: digits, image: {size: 4}}")
    assert dataset.preprocessing.target.task == "multiclass"
    assert dataset.preprocessing.target.classes[:3] == ("0", "1", "2")


def test_a_table_of_paths_and_numbers(photos, tmp_path, prepared):
    paths = [f"photos/{label}/{index}.{'jpg' if index % 2 else 'png'}"
             for label in ("cat", "dog") for index in range(10)]  # fmt: skip
    paths[3] = str(tmp_path / paths[3])
    frame = pl.DataFrame({"file": paths, "a": range(20), "y": [i * 1.5 for i in range(20)]})
    frame.write_csv(tmp_path / "t.csv")
    data = "{source: t.csv, target: y, columns: {file: {kind: image}}, image: {size: 5}}"
    for streamed in (False, True):
        dataset = prepared(data, streamed=streamed)
        features, image = dataset.preprocessing.inputs
        assert (features, image) == (
            InputSpec(FEATURES, (1,), "float32"),
            InputSpec(IMAGE, (5, 5, 3), "uint8"),
        )
        assert dataset.preprocessing.target.task == "regression"
        samples = dataset.samples("train")
        expected = [
            decode_image(str(tmp_path / paths[row]), dataset.preprocessing.image.geometry).pixels
            for row in samples.rows
        ]
        assert np.array_equal(samples.inputs[IMAGE][:], np.stack(expected))


@pytest.mark.parametrize("name", ["path", "file", "label"])
@pytest.mark.parametrize("streamed", [False, True])
def test_every_source_of_predictions_has_the_column_of_paths(
    photos, tmp_path, prepared, monkeypatch, name, streamed
):
    monkeypatch.chdir(tmp_path)
    paths = sorted(str(path.relative_to(tmp_path)) for path in photos.rglob("*.png"))
    frame = pl.DataFrame({name: paths, "y": [i * 1.5 for i in range(len(paths))]})
    frame.write_csv(tmp_path / "t.csv")
    config = (
        f"{{source: t.csv, target: y, columns: {{{name}: {{kind: image}}}}, image: {{size: 5}}}}"
    )
    preprocessing = prepared(config).preprocessing
    data = load_config(tmp_path / "c.yaml").config.data
    for source in ("t.csv", "photos", "photos/*/*.png", paths[3]):
        other = data.model_copy(update={"source": source})
        parts = list(prediction_batches(other, preprocessing, (), streamed=streamed))
        kept = pl.concat(part.kept for part in parts)
        assert kept.columns == [name]
        found = kept[name].str.strip_prefix(f"{tmp_path}/")
        everything = sorted(str(path.relative_to(tmp_path)) for path in photos.rglob("*.*"))
        expected = {"photos": everything, paths[3]: [paths[3]]}.get(source, paths)
        assert found.sort().to_list() == expected


def test_scaling(photos, prepared):
    column = prepared("{source: photos, image: {size: 5}}").preprocessing.image
    assert (column.mean, column.std) == ((0.0,) * 3, (255.0,) * 3)
    assert column.scaling == UNIT_SCALING
    fixed = "{size: 5, scale: {mean: [0.5], std: [0.1, 0.2, 0.4]}}"
    column = prepared(f"{{source: photos, image: {fixed}}}").preprocessing.image
    assert column.mean == (127.5,) * 3
    assert column.scaling.factors == pytest.approx((1 / 25.5, 1 / 51, 1 / 102))
    assert column.scaling.offsets == pytest.approx((-5, -2.5, -1.25))


def test_standardization_has_the_statistics_of_the_training_rows(photos, prepared):
    dataset = prepared("{source: photos, image: {size: 5, scale: standardize}}")
    column, train = dataset.preprocessing.image, decoded(dataset, "train").reshape(-1, 3)
    assert column.mean == pytest.approx(train.mean(axis=0))
    assert column.std == pytest.approx(train.std(axis=0))
    restored = Preprocessing.from_json(dataset.preprocessing.to_json())
    assert restored == dataset.preprocessing


def test_broken_images_are_errors(photos, prepared):
    for name in ("cat/1.jpg", "dog/2.png", "dog/3.jpg"):
        (photos / name).write_bytes(b"")
    dataset = prepared("{source: photos, image: {size: 5}}")
    assert "3 files with no bytes" in dataset.warnings[0] or "no bytes" in dataset.warnings[0]
    with pytest.raises(DataError) as error:
        dataset.samples("train")
    first, *_, last = error.value.problems
    assert (len(error.value.problems), first.where) == (3, str(photos / "cat/1.jpg"))
    assert str(first) == f"{first.where}: expected an image, found no bytes"
    assert "replace or remove these 3 files, or set data.image.broken: drop" in str(last)


@pytest.mark.parametrize("streamed", [False, True])
def test_broken_images_are_dropped(photos, prepared, streamed):
    (photos / "cat/1.jpg").write_bytes(b"text")
    data = "{source: photos, image: {size: 5, broken: drop}}"
    dataset = prepared(data, streamed=streamed)
    assert dataset.dropped == {"broken image": 1}
    expected = f"1 broken image: {photos}/cat/1.jpg (not an image that Pillow can read)"
    assert expected in dataset.warnings
    assert sum(dataset.rows(name) for name in ("train", "validation", "test")) == 19
    assert dataset.samples("train").inputs[IMAGE][:].any(axis=(1, 2, 3)).all()


def test_copies_are_dropped_by_content(photos, prepared):
    (photos / "cat" / "copy.jpg").write_bytes((photos / "cat" / "0.png").read_bytes())
    (photos / "dog" / "other class.png").write_bytes((photos / "cat" / "0.png").read_bytes())
    dataset = prepared("{source: photos, image: {size: 5}, clean: {duplicates: drop}}")
    assert dataset.dropped == {"duplicate": 1}


def test_no_image_can_be_decoded(photos, prepared):
    for path in photos.rglob("*.*"):
        path.write_bytes(b"text")
    with pytest.raises(DataError, match="an image that can be decoded, found none in 20 rows: "):
        prepared("{source: photos, image: {size: 5, broken: drop}}")


def test_new_rows_with_broken_images_are_black_and_unseen(photos, prepared):
    preprocessing = prepared("{source: photos, image: {size: 5}}").preprocessing
    frame = pl.DataFrame({"path": [str(photos / "cat/0.png"), "gone.jpg", None]})
    encoded = preprocessing.transform(frame)
    assert encoded.unseen.tolist() == [False, True, True]
    assert encoded.warnings == ("2 rows have a broken image (read as black) in 'path'",)
    assert encoded.inputs[IMAGE][:].any(axis=(1, 2, 3)).tolist() == [True, False, False]


def test_paths_that_are_numbers_are_errors(tmp_path, prepared):
    pl.DataFrame({"file": [1, 2, 3, 4], "y": list("abab")}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="the path of an image in 'file'"):
        prepared("{source: t.parquet, target: y, columns: {file: {kind: image}}}")
