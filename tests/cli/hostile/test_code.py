"""Configs, data and checkpoints that would run code: nothing of them does."""

from __future__ import annotations

import io
import json
import pickle
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.hostile.attack import (
    LOOKS,
    READERS,
    SECONDS,
    SETTINGS,
    Marks,
    checkpoints,
    reseal,
    survive,
)


def test_the_seal_is_made_as_the_trainer_makes_it(run: Path, trainer: Callable) -> None:
    """Without this, what follows would be refused for its seal alone."""
    before = (run / "checkpoints/last/checkpoint.json").read_bytes()
    reseal(run / "checkpoints/last")
    assert (run / "checkpoints/last/checkpoint.json").read_bytes() == before
    survive(trainer, {verb: {0} for verb in READERS})


# YAML.

OBJECTS = [
    "!!python/object/apply:os.system ['touch MARK']",
    "!!python/object/apply:pathlib.Path.touch [MARK]",
    "!!python/object/new:subprocess.Popen [[touch, MARK]]",
    "!!python/name:os.system",
    "!!python/module:own_module_of_hostile",
    "!python/tuple [1]",
    "!!binary aGFsbG8=",
    "!custom x",
]


@pytest.mark.parametrize("text", OBJECTS)
def test_yaml_makes_no_objects(text: str, run: Path, mark: Path, trainer: Callable) -> None:
    text = text.replace("MARK", str(mark))
    (run.parent / "own_module_of_hostile.py").write_text(f"open({str(mark)!r}, 'w')\n")
    good = (run.parent / "good.yaml").read_text()
    for place in ("X\n", "? X\n: 1\n", "name: [&a X, *a]\n", "seed: X\n"):
        hostile = place.replace("X", text)
        (run.parent / "bad.yaml").write_text(good + hostile)
        for verb in ("check", "fit"):
            result = trainer(verb, "bad.yaml")
            assert result.code == 2, result
            assert "Traceback" not in result.err
    result = trainer("fit", "good.yaml", f"seed={text}")
    assert result.code == 2, result
    with (run / "config.yaml").open("a") as config:
        config.write(hostile)
    survive(trainer, LOOKS, only=("eval", "predict", "resume", "warm start", "ls"))


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
    began = time.monotonic()
    result = trainer("check", "bad.yaml")
    assert result.code == 2, result.err[:500]
    assert len(result.err) < 20_000
    with (run / "config.yaml").open("a") as config:
        config.write(text)
    survive(trainer, LOOKS, only=("eval", "resume", "ls"))
    assert time.monotonic() - began < SECONDS


# Code of a stranger's choice.


def with_marking_module(folder: Path, mark: Path) -> str:
    """A module that leaves a mark when it is imported."""
    text = f"open({str(mark)!r}, 'w').close()\nimport keras\n"
    text += "@keras.saving.register_keras_serializable('own')\nclass Own(keras.layers.Layer):\n"
    text += "    pass\ndef made():\n    return Own()\n"
    (folder / "module_that_marks.py").write_text(text)
    return "module_that_marks:made"


@pytest.mark.parametrize("place", ["config", "run", "both"])
def test_without_permission_nothing_is_imported(
    place: str, run: Path, mark: Path, trainer: Callable
) -> None:
    function = with_marking_module(run.parent, mark)
    with_marking_module(run, mark)
    if place != "run":
        for setting in (
            f"model.layers=[{{custom: '{function}'}}]",
            f"fit.callbacks=[{{custom: '{function}'}}]",
        ):
            for verb in ("check", "fit"):
                result = trainer(verb, "good.yaml", *SETTINGS, setting)
                assert result.code == (0 if verb == "check" else 2), result
    if place != "config":
        config = run / "config.yaml"
        text = config.read_text()
        assert "  layers:\n" in text
        settings = (
            f"function: '{function}'\n        arguments: {{}}\n        folder: {run.absolute()}"
        )
        own = f"  layers:\n    - custom:\n        {settings}\n"
        config.write_text(text.replace("  layers:\n", own))
        survive(trainer, LOOKS)
        # As if it had always been so.
        layers = [
            {"custom": {"function": function, "arguments": {}, "folder": str(run.absolute())}}
        ]
        for checkpoint in checkpoints(run):
            reseal(checkpoint, lambda facts: add_layers(facts, layers))
        survive(trainer, LOOKS)


def add_layers(facts: dict[str, Any], layers: list[Any]) -> None:
    if "config" in facts:
        model = facts["config"]["model"]
        model["layers"] = [*layers, *model["layers"]]


def keras_file(mark: Path, kind: str) -> bytes:
    """A `.keras` file that runs something when Keras loads it as a model."""
    import keras

    inputs = 5
    if kind == "lambda":
        made = keras.Sequential(
            [
                keras.layers.Input((inputs,)),
                keras.layers.Lambda(eval(f"lambda x: (open({str(mark)!r}, 'w'), x)[1]")),
                keras.layers.Dense(1),
            ]
        )
        # Building calls the function once.
        mark.unlink()
    else:
        made = keras.Sequential([keras.layers.Input((inputs,)), keras.layers.Dense(1)])
    place = mark.with_name("made.keras")
    made.save(place)
    content = io.BytesIO()
    with zipfile.ZipFile(place) as archive, zipfile.ZipFile(content, "w") as packed:
        for name in archive.namelist():
            text = archive.read(name)
            if kind == "module" and name == "config.json":
                config = json.loads(text)
                config["config"]["layers"][-1] |= {
                    "module": "module_that_marks",
                    "class_name": "Own",
                    "registered_name": "own>Own",
                }
                text = json.dumps(config).encode()
            packed.writestr(name, text)
    place.unlink()
    return content.getvalue()


@pytest.mark.parametrize("kind", ["lambda", "module"])
def test_a_model_that_would_run_something(
    kind: str, run: Path, mark: Path, trainer: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    with_marking_module(run.parent, mark)
    monkeypatch.syspath_prepend(run.parent)
    content = keras_file(mark, kind)
    (run.parent / "model.keras").write_bytes(content)
    with suppress(Exception):
        keras.saving.load_model(run.parent / "model.keras", safe_mode=False)
    # Keras itself imports no modules of others, at this version.
    assert mark.exists() or kind == "module", "it is no model to be afraid of"
    mark.unlink(missing_ok=True)
    sys.modules.pop("module_that_marks", None)
    for checkpoint in checkpoints(run):
        (checkpoint / "model.keras").write_bytes(content)
        reseal(checkpoint)
    # To go on, `resume` needs state.npz alone, and writes the model anew.
    survive(trainer, {**LOOKS, "resume": {0, 2}})


@pytest.mark.parametrize("name", ["model.keras", "state.npz"])
def test_other_content_than_was_written_is_not_unpacked(
    name: str, run: Path, mark: Path, trainer: Callable
) -> None:
    for checkpoint in checkpoints(run):
        (checkpoint / name).write_bytes(pickle.dumps(Marks(mark)))
    survive(trainer, LOOKS)


# Pickles.


def pickled_npz(mark: Path, name: str = "age") -> bytes:
    content = io.BytesIO()
    np.savez(content, **{name: np.array([Marks(mark)] * 60, dtype=object)})
    return content.getvalue()


def test_pickled_data(run: Path, mark: Path, trainer: Callable) -> None:
    loaded = np.load(io.BytesIO(pickled_npz(mark)), allow_pickle=True)
    loaded["age"]  # it would
    assert mark.exists()
    mark.unlink()
    Path("bad.npz").write_bytes(pickled_npz(mark))
    Path("bare.npz").write_bytes(pickle.dumps(Marks(mark)))
    Path("bare.parquet").write_bytes(pickle.dumps(Marks(mark)))
    Path("bare.arrow").write_bytes(pickle.dumps(Marks(mark)))
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


def test_a_pickled_state(run: Path, mark: Path, trainer: Callable) -> None:
    for checkpoint in checkpoints(run):
        (checkpoint / "state.npz").write_bytes(pickled_npz(mark, "network/0000/kernel"))
        reseal(checkpoint)
    survive(trainer, LOOKS)
