from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.config.dump import dump_config
from trainer.config.load import load_config
from trainer.config.paths import absolute_path, absolute_store
from trainer.errors import ConfigError

Write = Callable[..., Path]
DATA = "data: {source: a.csv, target: y}\n"


def test_absolute_path(tmp_path: Path) -> None:
    assert absolute_path("https://x.org/a.csv", tmp_path) == "https://x.org/a.csv"
    assert absolute_path("~/a.csv", tmp_path) == str(Path.home() / "a.csv")
    odd = tmp_path / "[1]"
    odd.mkdir()
    assert absolute_path("a.csv", odd) == str(odd / "a.csv")
    assert absolute_path("*.csv", odd) == f"{tmp_path}/[[]1]/*.csv"
    (odd / "a*.csv").touch()
    assert absolute_path("a*.csv", odd) == str(odd / "a*.csv")


@pytest.mark.parametrize(
    ("text", "absolute"),
    [
        ("mlruns", "{}/mlruns"),
        ("../mlruns", "{}/../mlruns"),
        ("/a/mlruns", "/a/mlruns"),
        ("sqlite:///mlflow.db", "sqlite:///{}/mlflow.db"),
        ("sqlite+pysqlite:///sub/m.db?a=b", "sqlite+pysqlite:///{}/sub/m.db?a=b"),
        ("sqlite:////a/m.db", "sqlite:////a/m.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite:///", "sqlite:///"),
        ("file:///a/b", "file:///a/b"),
        ("http://host:5000/x", "http://host:5000/x"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
    ],
)
def test_absolute_store(tmp_path: Path, text: str, absolute: str) -> None:
    expected = absolute.format(tmp_path)
    if "://" not in text:
        expected = str(Path(expected).resolve())
    assert absolute_store(text, tmp_path) == expected
    assert absolute_store(expected, Path("/elsewhere")) == expected


def test_a_store_is_relative_to_its_file(write: Write) -> None:
    path = write(f"{DATA}track: {{mlflow: {{uri: 'sqlite:///m.db'}}}}\n", "sub/c.yaml")
    found = load_config(path).config.track.mlflow
    assert found is not None
    assert found.uri == f"sqlite:///{path.parent}/m.db"
    kept = write(dump_config(load_config(path).config), "runs/x/config.yaml")
    assert load_config(kept).config.track.mlflow == found


def custom_of(path: Path, *overrides: str) -> Any:
    return load_config(path, overrides).config.model.model_dump()["layers"][0]["custom"]


@pytest.mark.parametrize("layer", ["'own:wide'", "{function: 'own:wide'}"])
def test_a_custom_layer_is_looked_for_where_it_is_written(write: Write, layer: str) -> None:
    own = write(f"{DATA}model: {{layers: [{{custom: {layer}}}]}}\n", "own/c.yaml")
    other = write("extends: ../own/c.yaml\n", "other/c.yaml")
    assert custom_of(own)["folder"] == str(own.parent)
    assert custom_of(other)["folder"] == str(own.parent)
    kept = write(dump_config(load_config(other).config), "runs/x/config.yaml")
    assert custom_of(kept) == custom_of(own)


def test_the_folder_of_a_custom_layer_can_be_stated(write: Write) -> None:
    text = "model: {layers: [{custom: {function: 'own:wide', folder: ../lib}}]}\n"
    path = write(DATA + text, "sub/c.yaml")
    assert custom_of(path)["folder"] == str(path.parent.parent / "lib")


def test_a_custom_layer_of_an_override_is_looked_for_in_the_working_directory(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(DATA, "sub/c.yaml")
    monkeypatch.chdir(path.parent.parent)
    assert custom_of(path, "model.layers=[{custom: 'own:wide'}]")["folder"] == str(Path.cwd())


@pytest.mark.parametrize("layer", ["3", "{}", "[own]", "null"])
def test_a_custom_layer_that_is_none_is_still_told_of(write: Write, layer: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.layers\.0\.custom"):
        load_config(write(f"{DATA}model: {{layers: [{{custom: {layer}}}]}}\n"))


def test_custom_callbacks_are_looked_for_where_they_are_written(write: Write) -> None:
    path = write(f"{DATA}fit: {{callbacks: [{{custom: 'own:watch'}}]}}\n", "own/c.yaml")
    (callback,) = load_config(path).config.fit.callbacks
    assert callback.custom.folder == str(path.parent)
