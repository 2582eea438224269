"""Commands that take a folder of images in place of a config or a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.data.images import make_images
from tests.report.page.html_checks import check_page


@pytest.fixture
def photos(folder: Path) -> Path:
    return make_images(folder / "photos", count=12).relative_to(folder)


def test_init_and_check(photos: Path, trainer: Callable[..., Any]) -> None:
    written = trainer("init", photos)
    assert (written.code, written.out) == (0, "photos.yaml\n")
    assert "24 rows; binary: 2 subfolders" in written.err
    assert "cat 12, dog 12; 16 × 12; 0.0 MB when decoded to 16 × 12 × 3" in written.err
    checked = trainer("check", "photos.yaml", "--json")
    assert checked.json["inputs"] == [{"name": "image", "shape": [12, 16, 3], "dtype": "uint8"}]
    direct = trainer("check", photos, "--json")
    assert direct.json["parameters"] == checked.json["parameters"]
    smaller = trainer("check", photos, "--json", "data.image.size=8")
    assert smaller.json["inputs"][0]["shape"] == [8, 8, 3]
    assert smaller.json["random_changes"] == []
    image = "data.image={resize: 12, crop: 8, random_crop: true}"
    changed = trainer("check", photos, image, "model.augment=[flip, {rotate: 9}]")
    assert "training images change at random: random_crop, flip, rotate\n" in changed.out


def test_images_beside_columns_are_not_mixed(photos: Path, refused: Callable[..., Any]) -> None:
    paths = [str(path) for path in sorted(photos.rglob("*.*"))]
    age = [float(index) for index in range(len(paths))]
    label = ["cat" if "cat" in path else "dog" for path in paths]
    pl.DataFrame({"file": paths, "age": age, "label": label}).write_csv("t.csv")
    Path("t.yaml").write_text(
        "data: {source: t.csv, target: label, columns: {file: {kind: image}}, image: {size: 8}}\n"
        "model:\n  layers: [flatten]\n  augment:\n    - flip\n    - mixup: 0.2\n"
    )
    text = "t.yaml:6:14 model.augment.1.mixup: expected images as the only column of the network"
    refused("check", "t.yaml", mentions=[text, "remove mixup, or the columns with data.features"])


def test_contact_sheet(photos: Path, trainer: Callable[..., Any], refused: Callable) -> None:
    pages = []
    for command in (("init", photos, "-o", "-"), ("check", photos), ("check", photos, "--json")):
        done = trainer(*command, "--sheet", "sheet.html")
        assert done.code == 0, done
        pages.append(Path("sheet.html").read_text())
    assert len(check_page(pages[0]).find_all("img")) == 20
    assert pages[0] == pages[1] == pages[2]
    sizes = {"width": 16, "height": 12, "files": 24}
    assert done.json["images"] == {"files": 24, "sizes": [sizes], "broken": []}
    assert "images: 16 × 12; 24 files looked at" in trainer("check", photos).out
    for name, text in (("sheet.jpg", "a name ending in .html"), ("no/a.html", "mkdir -p no")):
        refused("check", photos, "--sheet", name, mentions=[text])
    for command in (("check", "good.yaml"), ("init", "table.csv", "-t", "answer")):
        refused(*command, "--sheet", "a.html", mentions=["a column or a folder of images"])
    refused("check", "--data", photos, "--sheet", "a.html", mentions=["no --data"])
    assert not Path("a.html").exists()
    assert not Path("table.yaml").exists()


def test_audit(photos: Path, trainer: Callable[..., Any]) -> None:
    clean = trainer("check", "--data", photos)
    assert (clean.code, clean.out) == (0, "photos: 0 errors, 0 warnings in 14 train, 5 validation, "
                                          "5 test rows, 1 feature\n")  # fmt: skip
    for label in ("cat", "dog"):
        (photos / label / "broken.jpg").write_bytes(b"")
    broken = trainer("check", "--data", photos)
    assert broken.code == 2
    assert "photos/cat/broken.jpg [broken_images]" in broken.err


def test_a_target_is_refused(photos: Path, refused: Callable[..., Any]) -> None:
    for command in ("init", "fit"):
        refused(
            command, photos, "--target=label", mentions=["the class of an image is its subfolder"]
        )


@pytest.mark.slow
def test_fit_predict_and_evaluate(
    photos: Path, trainer: Callable[..., Any], refused: Callable[..., Any]
) -> None:
    fitted = trainer("fit", photos, "fit.epochs=3", "fit.batch_size=4", "--quiet")
    assert fitted.code == 0, fitted
    run = fitted.out.strip()
    assert (Path(run) / "report.html").stat().st_size > 10_000
    for source in ("photos", "t.csv"):
        paths = sorted(str(path) for path in photos.rglob("*.*"))
        pl.DataFrame({"path": paths}).write_csv("t.csv")
        result = trainer("predict", run, source, "-o", f"{source}.out.csv")
        assert result.code == 0, result
    first, second = pl.read_csv("photos.out.csv"), pl.read_csv("t.csv.out.csv")
    assert first["path"].sort().equals(second["path"].sort())
    assert first.sort("path").drop("row").equals(second.sort("path").drop("row"))
    one = trainer("predict", run, "photos/cat/0.png", "-o", "-")
    assert one.out.splitlines()[1] == Path("photos.out.csv").read_text().splitlines()[1]
    Path("deep").mkdir()
    photos.rename("deep/photos")
    moved = trainer("predict", run, "deep/photos", "-o", "-")
    assert moved.out.replace("deep/photos", "photos") == Path("photos.out.csv").read_text()
    Path("deep/photos").rename(photos)
    several = trainer("predict", run, "photos/*/*.jpg", "-o", "-")
    assert len(several.out.splitlines()) == 13
    evaluated = trainer("eval", run, "--data", photos)
    assert evaluated.code == 0, evaluated
    streamed = trainer(
        "fit", photos, "fit.epochs=3", "fit.batch_size=4", "runtime.engine=streaming", "-q"
    )
    weights = [
        Path(path.strip(), "checkpoints/best/model.keras").exists() for path in (run, streamed.out)
    ]
    assert weights == [True, True]
    report = Path(run, "report.html").read_text()
    shown = json.loads(Path(run, "explanation/images.json").read_text())
    assert {image["path"] for image in shown["images"]} <= {
        str(Path(path).absolute()) for path in first["path"]
    }
    assert report.count("<img ") >= len(shown["images"])
    assert "Where the network looked: Grad-CAM and occlusion, test" in report
    check_page(report)
    for command in ("explain", "report", "show", "eval"):
        result = trainer(command, run)
        assert result.code == 0, result
    for rows, count in (("photos/*/*.jpg", 12), ("photos", 24), ("t.csv", 24), (2, 2)):
        explained = trainer("explain", run, "--rows", rows, "--json")
        assert explained.code == 0, explained
        heat_maps = explained.json["heat_maps"]
        assert len(heat_maps["images"]) == count
        assert all((image["actual"] is None) == (rows != 2) for image in heat_maps["images"])
        folder = Path(explained.json["explanation"])
        assert len(list(folder.glob("heat_map_*.jpg"))) == count
        with np.load(folder / "heat_maps.npz") as arrays:
            assert len(arrays["class_activation"]) == len(arrays["occlusion"]) == count
    drawn = trainer("explain", run, "--split", "validation", "--json").json["heat_maps"]
    assert (drawn["source"], len(drawn["images"])) == ("validation", 5)
    refused("explain", run, "--columns", "path", mentions=["heat maps need no column"])
    refused("explain", run, "--rows", "5000", mentions=["at most 1,000 images"])
    resumed = trainer("resume", run, "fit.epochs=+1", "--quiet")
    assert resumed.code == 0, resumed


@pytest.mark.slow
def test_heat_maps_of_folds(photos: Path, trainer: Callable[..., Any]) -> None:
    settings = ("fit.folds=2", "data.split.test=0.25", "fit.epochs=2", "fit.batch_size=4")
    fitted = trainer("fit", photos, *settings, "-q")
    assert fitted.code == 0, fitted
    run = Path(fitted.out.strip())
    shown = json.loads((run / "explanation/images.json").read_text())
    first = (run / "explanation/heat_maps.npz").read_bytes()
    assert "Where the network looked" in (run / "report.html").read_text()
    explained = trainer("explain", run, "--json")
    assert explained.code == 0, explained
    heat_maps = explained.json["heat_maps"]
    assert heat_maps["source"] == shown["split"] == "test"
    assert [image["row"] for image in heat_maps["images"]] == shown["explained"]
    assert (run / "explanation/heat_maps.npz").read_bytes() == first
    with np.load(run / "explanation/heat_maps.npz") as arrays:
        peaks = arrays["class_activation"].max(axis=(1, 2))
    assert (peaks <= 1).all()
