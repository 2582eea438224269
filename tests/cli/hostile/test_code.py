"""Configs, data and checkpoints that contain code: none of it is run."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.hostile.attack import (
    LISTED,
    READERS,
    SETTINGS,
    Mark,
    check_readers,
    checkpoints,
    hang_guard,
    reseal,
)
from tests.marks import slow_except


def test_reseal_makes_a_valid_checkpoint(run: Path, trainer: Callable) -> None:
    """Otherwise the other tests would pass because of the checksum alone."""
    before = (run / "checkpoints/last/checkpoint.json").read_bytes()
    reseal(run / "checkpoints/last")
    assert (run / "checkpoints/last/checkpoint.json").read_bytes() == before
    check_readers(trainer, {command: {0} for command in READERS})


# YAML.

OBJECTS = [
    "!!python/object/apply:os.system ['touch MARK']",
    "!!python/object/apply:pathlib.Path.touch [MARK]",
    "!!python/object/new:subprocess.Popen [[touch, MARK]]",
    "!!python/name:os.system",
    "!!python/module:module_of_hostile_yaml",
    "!python/tuple [1]",
    "!!binary aGFsbG8=",
    "!custom x",
]


@pytest.mark.parametrize("text", slow_except([OBJECTS[0], OBJECTS[-1]], OBJECTS))
def test_yaml_creates_no_objects(text: str, run: Path, mark: Path, trainer: Callable) -> None:
    text = text.replace("MARK", str(mark))
    (run.parent / "module_of_hostile_yaml.py").write_text(f"open({str(mark)!r}, 'w')\n")
    good = (run.parent / "good.yaml").read_text()
    for template in ("X\n", "? X\n: 1\n", "name: [&a X, *a]\n", "seed: X\n"):
        hostile = template.replace("X", text)
        (run.parent / "bad.yaml").write_text(good + hostile)
        for command in ("check", "fit"):
            result = trainer(command, "bad.yaml")
            assert result.code == 2, result
            assert "Traceback" not in result.err
    result = trainer("fit", "good.yaml", f"seed={text}")
    assert result.code == 2, result
    with (run / "config.yaml").open("a") as config:
        config.write(hostile)
    check_readers(trainer, LISTED, only=("eval", "predict", "resume", "warm start", "ls"))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n"
            for n in range(12)
        ),
        "a: &a {<<: *a}\n",
        "a: &a [*a]\n",
        "a: " + "[" * 50_000 + "\n",
        "a: " + "[" * 5_000 + "]" * 5_000 + "\n",
        "a: " + "{a: " * 5_000 + "1" + "}" * 5_000 + "\n",
        "a: " + "9" * 100_000 + "\n",
        "a: 1e" + "9" * 1_000 + "\n",
        "? " * 20_000 + "\n",
        "- " * 20_000 + "\n",
        "a: |\n" + "x" * 2_000_000,
    ],
    ids=lambda text: text[:12].replace("\n", " "),
)
def test_yaml_bombs(text: str, run: Path, trainer: Callable) -> None:
    (run.parent / "bad.yaml").write_text((run.parent / "good.yaml").read_text() + text)
    with hang_guard():
        result = trainer("check", "bad.yaml")
    assert result.code == 2, result.err[:500]
    assert len(result.err) < 20_000
    with (run / "config.yaml").open("a") as config:
        config.write(text)
    check_readers(trainer, LISTED, only=("eval", "resume", "ls"))


# Custom functions and Keras models.


def with_marking_module(folder: Path, mark: Path) -> str:
    """Write a module that leaves a mark when it is imported; return the name of its function."""
    text = f"open({str(mark)!r}, 'w').close()\nimport keras\n"
    text += (
        "@keras.saving.register_keras_serializable('custom')\nclass Custom(keras.layers.Layer):\n"
    )
    text += "    pass\ndef custom():\n    return Custom()\n"
    (folder / "module_that_marks.py").write_text(text)
    return "module_that_marks:custom"


@pytest.mark.parametrize("source", ["config", "run", "both"])
def test_custom_functions_are_not_imported_without_permission(
    source: str, run: Path, mark: Path, trainer: Callable
) -> None:
    function = with_marking_module(run.parent, mark)
    with_marking_module(run, mark)
    if source != "run":
        for setting in (
            f"model.layers=[{{custom: '{function}'}}]",
            f"fit.callbacks=[{{custom: '{function}'}}]",
        ):
            for command in ("check", "fit"):
                result = trainer(command, "good.yaml", *SETTINGS, setting)
                assert result.code == (0 if command == "check" else 2), result
    if source != "config":
        config = run / "config.yaml"
        text = config.read_text()
        assert "  layers:\n" in text
        settings = (
            f"function: '{function}'\n        arguments: {{}}\n        folder: {run.absolute()}"
        )
        custom = f"  layers:\n    - custom:\n        {settings}\n"
        config.write_text(text.replace("  layers:\n", custom))
        check_readers(trainer, LISTED)
        # The same with checkpoints that agree.
        layers = [
            {"custom": {"function": function, "arguments": {}, "folder": str(run.absolute())}}
        ]
        for checkpoint in checkpoints(run):
            reseal(checkpoint, lambda metadata: add_layers(metadata, layers))
        check_readers(trainer, LISTED)


def add_layers(metadata: dict[str, Any], layers: list[Any]) -> None:
    if "config" in metadata:
        model = metadata["config"]["model"]
        model["layers"] = [*layers, *model["layers"]]


def keras_file(mark: Path, kind: str) -> bytes:
    """Return a `.keras` file that runs something when Keras loads it as a model."""
    import keras

    inputs = 5
    if kind == "lambda":
        model = keras.Sequential(
            [
                keras.layers.Input((inputs,)),
                keras.layers.Lambda(eval(f"lambda x: (open({str(mark)!r}, 'w'), x)[1]")),
                keras.layers.Dense(1),
            ]
        )
        # Building calls the function once.
        mark.unlink()
    else:
        model = keras.Sequential([keras.layers.Input((inputs,)), keras.layers.Dense(1)])
    path = mark.with_name("model_of_attacker.keras")
    model.save(path)
    content = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(content, "w") as packed:
        for name in archive.namelist():
            text = archive.read(name)
            if kind == "module" and name == "config.json":
                config = json.loads(text)
                config["config"]["layers"][-1] |= {
                    "module": "module_that_marks",
                    "class_name": "Custom",
                    "registered_name": "custom>Custom",
                }
                text = json.dumps(config).encode()
            packed.writestr(name, text)
    path.unlink()
    return content.getvalue()


@pytest.mark.parametrize("kind", ["lambda", "module"])
def test_model_that_runs_code_when_loaded(
    kind: str, run: Path, mark: Path, trainer: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    with_marking_module(run.parent, mark)
    monkeypatch.syspath_prepend(run.parent)
    content = keras_file(mark, kind)
    (run.parent / "model.keras").write_bytes(content)
    with suppress(Exception):
        keras.saving.load_model(run.parent / "model.keras", safe_mode=False)
    # At this version Keras does not import the module.
    assert mark.exists() or kind == "module", "the model is harmless"
    mark.unlink(missing_ok=True)
    sys.modules.pop("module_that_marks", None)
    for checkpoint in checkpoints(run):
        (checkpoint / "model.keras").write_bytes(content)
        reseal(checkpoint)
    # `resume` reads state.npz alone, and rewrites the model.
    check_readers(trainer, {**LISTED, "resume": {0, 2}})


@pytest.mark.parametrize("name", ["model.keras", "state.npz"])
def test_pickle_in_place_of_a_file_of_a_checkpoint(
    name: str, run: Path, mark: Path, trainer: Callable
) -> None:
    for checkpoint in checkpoints(run):
        (checkpoint / name).write_bytes(pickle.dumps(Mark(mark)))
    check_readers(trainer, LISTED)


# Pickles.


def pickled_npz(mark: Path, name: str = "age") -> bytes:
    content = io.BytesIO()
    np.savez(content, **{name: np.array([Mark(mark)] * 60, dtype=object)})
    return content.getvalue()


def test_pickled_data(run: Path, mark: Path, trainer: Callable) -> None:
    loaded = np.load(io.BytesIO(pickled_npz(mark)), allow_pickle=True)
    loaded["age"]  # NumPy runs it
    assert mark.exists()
    mark.unlink()
    Path("bad.npz").write_bytes(pickled_npz(mark))
    Path("bare.npz").write_bytes(pickle.dumps(Mark(mark)))
    Path("bare.parquet").write_bytes(pickle.dumps(Mark(mark)))
    Path("bare.arrow").write_bytes(pickle.dumps(Mark(mark)))
    for name in ("bad.npz", "bare.npz", "bare.parquet", "bare.arrow"):
        for arguments in (
            ("check", "good.yaml", f"data.source={name}"),
            ("fit", "good.yaml", f"data.source={name}"),
            ("init", name, "--target", "answer"),
            ("predict", "run", name, "-o", "out.csv"),
            ("eval", "run", "--data", name),
        ):
            result = trainer(*arguments)
            assert result.code == 2, (arguments, result)
            assert "Traceback" not in result.err


def test_pickled_state(run: Path, mark: Path, trainer: Callable) -> None:
    for checkpoint in checkpoints(run):
        (checkpoint / "state.npz").write_bytes(pickled_npz(mark, "network/0000/kernel"))
        reseal(checkpoint)
    check_readers(trainer, LISTED)
