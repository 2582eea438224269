from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.config.data import NamedSources
from trainer.config.dump import dump_config
from trainer.config.load import load_config
from trainer.config.nodes import to_python
from trainer.config.paths import absolute_path, absolute_uri
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
def test_absolute_uri(tmp_path: Path, text: str, absolute: str) -> None:
    expected = absolute.format(tmp_path)
    if "://" not in text:
        expected = str(Path(expected).resolve())
    assert absolute_uri(text, tmp_path) == expected
    assert absolute_uri(expected, Path("/elsewhere")) == expected


def test_tracking_uri_is_relative_to_the_file(write: Write) -> None:
    path = write(f"{DATA}track: {{mlflow: {{uri: 'sqlite:///m.db'}}}}\n", "sub/c.yaml")
    loaded = load_config(path).config.track.mlflow
    assert loaded is not None
    assert loaded.uri == f"sqlite:///{path.parent}/m.db"
    kept = write(dump_config(load_config(path).config), "runs/x/config.yaml")
    assert load_config(kept).config.track.mlflow == loaded


def custom_of(path: Path, *overrides: str) -> Any:
    return load_config(path, overrides).config.model.model_dump()["layers"][0]["custom"]


@pytest.mark.parametrize("layer", ["'own:wide'", "{function: 'own:wide'}"])
def test_folder_of_a_custom_layer(write: Write, layer: str) -> None:
    base = write(f"{DATA}model: {{layers: [{{custom: {layer}}}]}}\n", "own/c.yaml")
    other = write("extends: ../own/c.yaml\n", "other/c.yaml")
    assert custom_of(base)["folder"] == str(base.parent)
    assert custom_of(other)["folder"] == str(base.parent)
    kept = write(dump_config(load_config(other).config), "runs/x/config.yaml")
    assert custom_of(kept) == custom_of(base)


def test_configured_folder_of_a_custom_layer(write: Write) -> None:
    text = "model: {layers: [{custom: {function: 'own:wide', folder: ../lib}}]}\n"
    path = write(DATA + text, "sub/c.yaml")
    assert custom_of(path)["folder"] == str(path.parent.parent / "lib")


def test_custom_layer_of_an_override_is_in_the_working_directory(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(DATA, "sub/c.yaml")
    monkeypatch.chdir(path.parent.parent)
    assert custom_of(path, "model.layers=[{custom: 'own:wide'}]")["folder"] == str(Path.cwd())


@pytest.mark.parametrize("layer", ["3", "{}", "[own]", "null"])
def test_invalid_custom_layer_is_reported(write: Write, layer: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.layers\.0\.custom"):
        load_config(write(f"{DATA}model: {{layers: [{{custom: {layer}}}]}}\n"))


def test_folder_of_custom_callbacks(write: Write) -> None:
    path = write(f"{DATA}fit: {{callbacks: [{{custom: 'own:watch'}}]}}\n", "own/c.yaml")
    (callback,) = load_config(path).config.fit.callbacks
    assert callback.custom.folder == str(path.parent)


def test_variables_are_expanded_in_every_path(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOT", str(tmp_path))
    monkeypatch.setenv("PART", "part [1]")
    write("data: {target: y}\n", "base.yaml")
    path = write(
        "extends: ${ROOT}/base.yaml\n"
        "data: {source: {train: ['${ROOT}/${PART}/a.csv', '${ROOT}/${PART}/*.csv'], test: '~/t.csv'}}\n"
        "model: {layers: [{custom: {function: 'a:b', folder: '${ROOT}/own'}}]}\n"
        "fit: {warm_start: '${ROOT}/runs/x'}\n"
        "track: {mlflow: {uri: 'sqlite:///${ROOT}/m.db'}}\n",
        "sub/c.yaml",
    )
    config = load_config(path).config
    assert config.data.source == NamedSources(
        train=[f"{tmp_path}/part [1]/a.csv", f"{tmp_path}/part [[]1]/*.csv"],
        test=str(Path.home() / "t.csv"),
    )
    assert config.fit.warm_start.run == f"{tmp_path}/runs/x"
    assert config.track.mlflow is not None
    assert config.track.mlflow.uri == f"sqlite:///{tmp_path}/m.db"
    assert to_python(load_config(path).root)["model"]["layers"][0]["custom"]["folder"].endswith(
        "/own"
    )
    kept = write(dump_config(config), "runs/x/config.yaml")
    monkeypatch.delenv("ROOT")
    assert load_config(kept).config.data == config.data


@pytest.mark.parametrize(
    ("text", "key", "location"),
    [
        ("data: {source: '${NOT_SET}/a.csv', target: y}\n", "data.source", "1:16"),
        ("data: {source: [b.csv, '${NOT_SET}/a.csv'], target: y}\n", "data.source", "1:24"),
        (f"{DATA}fit: {{warm_start: '${{NOT_SET}}'}}\n", "fit.warm_start", "2:19"),
        (f"{DATA}track: {{mlflow: {{uri: '${{NOT_SET}}/x'}}}}\n", "track.mlflow.uri", "2:23"),
        (f"extends: '${{NOT_SET}}/b.yaml'\n{DATA}", "extends", "1:10"),
        (
            f"{DATA}model: {{layers: [{{custom: {{function: 'a:b', folder: '${{NOT_SET}}'}}}}]}}\n",
            "model.layers.0.custom.folder",
            "2:",
        ),
    ],
)
@pytest.mark.parametrize("empty", [False, True])
def test_unset_variable_is_reported_with_its_location(
    write: Write, monkeypatch: pytest.MonkeyPatch, text: str, key: str, location: str, empty: bool
) -> None:
    if empty:
        monkeypatch.setenv("NOT_SET", "")
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    problem = caught.value.problems[0]
    assert problem.where.startswith(f"{path}:{location}")
    assert problem.key == key
    assert "NOT_SET" in problem.expected
    assert ("is empty" if empty else "is not set") in problem.found
    assert "export NOT_SET=" in problem.fix


def test_unset_variable_in_an_override(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOT", "/somewhere")
    loaded = load_config(write(DATA), ["data.source=${ROOT}/x.csv"])
    assert loaded.config.data.source == "/somewhere/x.csv"
    with pytest.raises(ConfigError, match=r"override .*the name of an environment variable"):
        load_config(write(DATA), ["data.source=${1x}/x.csv"])
