"""Entries of `model.augment`: their forms, and conflicts with each other and the data."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.data.images import make_images
from trainer.config.augment import AUGMENT_KINDS, span
from trainer.config.load import load_config
from trainer.errors import ConfigError

BASE = "data: {source: photos, image: {size: 8}}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("augment")
    make_images(path / "photos", count=1)
    return path


def load(folder: Path, text: str, base: str = BASE) -> object:
    path = folder / "c.yaml"
    path.write_text(base + text)
    return load_config(path).config


def problems(folder: Path, text: str, base: str = BASE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, base)
    return [str(problem).split("c.yaml:")[1] for problem in caught.value.problems]


def test_forms(folder: Path) -> None:
    entries = "[flip, {rotate: 20}, {zoom: [1, 1.5]}, {shift: null}, {noise: {stddev: 0.1}}]"
    config = load(folder, f"model: {{augment: {entries}}}")
    flip, rotate, zoom, shift, noise = (entry.settings for entry in config.model.augment)  # type: ignore[attr-defined]
    assert (flip.direction, flip.probability) == ("horizontal", 0.5)
    assert span(rotate.degrees) == (-20, 20)
    assert span(zoom.factor, 1.0) == (1, 1.5)
    assert span(shift.factor) == (-0.1, 0.1)
    assert noise.stddev == 0.1
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("kind", AUGMENT_KINDS)
def test_names_alone_are_entries(folder: Path, kind: type) -> None:
    config = load(folder, f"model: {{augment: [{kind.kind}]}}")  # type: ignore[attr-defined]
    assert type(config.model.augment[0].settings) is kind  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[{rotate: 0.1}]", "an angle in degrees of at least 1, found 0.1; write 36 if"),
        ("[{zoom: [2, 1]}]", "expected [lower, upper], found [2, 1]; swap the two numbers"),
        ("[{shift: {factor: 0, width_factor: [1, 0]}}]", "0.shift.width_factor: expected [lower"),
        ("[{zoom: {fill_value: 9}}]", "expected fill_value only with fill_mode: constant"),
        ("[horizontal_flip]", "found 'horizontal_flip'; did you mean 'flip'"),
        ("[{random_translation: 0.1}]", "did you mean 'shift'"),
        ("[{rotate: 200}]", "model.augment.0.rotate"),
    ],
)
def test_wrong_settings_have_a_place_and_a_fix(folder: Path, text: str, expected: str) -> None:
    (problem,) = problems(folder, f"model:\n  augment: {text}")
    assert problem.startswith("3:")
    assert expected in problem


def test_conflicts_with_images_and_loss(folder: Path) -> None:
    grey = BASE.replace("size: 8", "size: 8, color: grey")
    (problem,) = problems(folder, "model: {augment: [saturation]}", grey)
    assert "expected images in color, found grey ones" in problem
    text = "model: {augment: [flip, cutmix]}\nloss: binary_focal_crossentropy"
    (problem,) = problems(folder, text)
    assert "model.augment.1.cutmix" in problem
    assert "set loss to binary_crossentropy, or remove cutmix" in problem


def test_tables_have_no_images_to_change(folder: Path) -> None:
    (folder / "t.csv").write_text("a,y\n1,2\n")
    (problem,) = problems(folder, "model: {augment: [flip]}", "data: {source: t.csv, target: y}\n")
    assert problem.startswith("2:18 model.augment: expected random changes of images only with")


@pytest.mark.parametrize(
    ("image", "found"),
    [("size: 8, random_crop: true", "neither"), ("resize: 8, crop: 8, random_crop: true", "8")],
)
def test_random_crops_need_larger_images(folder: Path, image: str, found: str) -> None:
    (problem,) = problems(folder, "", f"data: {{source: photos, image: {{{image}}}}}")
    assert "data.image.random_crop: expected a crop smaller than data.image.resize" in problem
    assert found in problem
