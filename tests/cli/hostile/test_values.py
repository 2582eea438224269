"""Values that no training writes, in each file of a run."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.cli.hostile.attack import (
    LISTED,
    READERS,
    check_readers,
    reseal,
)

DEEP = "[" * 100_000 + "]" * 100_000
VALUES: dict[str, str] = {
    "a huge integer": "9" * 5_000,
    "a large integer": "9" * 300,
    "an infinite number": "1e999",
    "not a number": "NaN",
    "a negative number": "-7",
    "a text": '"x"',
    "a list": "[1, [2, {}]]",
    "a mapping": '{"a": null}',
    "null": "null",
    "true": "true",
    "a deep list": DEEP,
    "a long text": '"' + "x" * 1_000_000 + '"',
}


def each_value(*quick: str) -> pytest.MarkDecorator:
    """Run a test with each of `VALUES`; those not named are slow."""
    return pytest.mark.parametrize(
        "value",
        [
            pytest.param(value, id=name, marks=[] if name in quick else [pytest.mark.slow])
            for name, value in VALUES.items()
        ],
    )


def every_third(value: str, names: Iterable[Any]) -> list[Any]:
    """Return a third of the names; each name is in the thirds of four values."""
    return [*names][[*VALUES.values()].index(value) % 3 :: 3]


def check_listed(trainer: Callable, where: str) -> None:
    for arguments in (("show", "run"), ("ls", ".", "--json")):
        result = trainer(*arguments)
        assert result.code in (0, 2), (where, arguments, result)
        assert "Traceback" not in result.err, (where, arguments, result)


@each_value("a mapping")
def test_values_in_the_manifest(value: str, run: Path, trainer: Callable) -> None:
    path = run / "manifest.json"
    text = path.read_text()
    for name in every_third(value, json.loads(text)):
        manifest = json.loads(text)
        manifest[name] = "HERE"
        path.write_text(json.dumps(manifest).replace('"HERE"', value, 1))
        check_listed(trainer, name)
    path.write_text(value)
    unread = {command: {0, 2} for command in ("predict", "warm start")}
    check_readers(trainer, {**LISTED, **unread})


@each_value("a deep list")
def test_values_in_logs_and_evaluations(value: str, run: Path, trainer: Callable) -> None:
    for name, content in {
        "evaluation/test.json": value,
        "evaluation/other.json": f'{{"metrics": {{"loss": {value}, "x": {{}}}}, "rows": {value}}}',
        "metrics.jsonl": f'{{"epoch": {value}, "loss": {value}}}\n' * 3,
        "timing.jsonl": f'{{"epoch": 1, "seconds": {value}}}\n',
    }.items():
        original = (run / name).read_bytes() if (run / name).exists() else None
        (run / name).write_text(content)
        check_listed(trainer, name)
        result = trainer("resume", "run", "fit.max_seconds=3600")
        assert result.code in (0, 2), (name, result)
        assert "Traceback" not in result.err, (name, result)
        if original is None:
            (run / name).unlink()
        else:
            (run / name).write_bytes(original)


@each_value("not a number", "a mapping")
def test_values_in_a_checkpoint(value: str, run: Path, trainer: Callable) -> None:
    shutil.rmtree(run / "checkpoints/last-1", ignore_errors=True)
    last = run / "checkpoints/last"
    metadata = json.loads((last / "checkpoint.json").read_text())
    names = [name for name in metadata if name not in ("sha256", "files", "weights_sha256")]
    inner = [("form", "steps_in_a_call"), ("form", "epochs_in_a_block"), ("monitors", "best")]
    original = run.with_name("original")
    shutil.copytree(run, original)
    try:
        parsed = json.loads(value)
        json.dumps(parsed)
    except (ValueError, RecursionError):
        parsed = value  # a text
    for key_path in every_third(value, [*((name,) for name in names), *inner]):

        def put(metadata: dict[str, Any], key_path: tuple[str, ...] = key_path) -> None:
            for key in key_path[:-1]:
                metadata = metadata[key]
            metadata[key_path[-1]] = parsed

        reseal(last, put)
        result = trainer("resume", "run", "fit.epochs=+1")
        is_valid = key_path == ("stopped_because",) and (parsed is None or isinstance(parsed, str))
        assert result.code == 2 or is_valid, (key_path, result)
        assert "Traceback" not in result.err, (key_path, result)
        shutil.rmtree(run)
        shutil.copytree(original, run)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_arrays_of_other_shapes(step: int, run: Path, trainer: Callable) -> None:
    """Each fifth array has another shape, has another type and is missing; each array one of these."""
    last = run / "checkpoints/last"
    shutil.rmtree(run / "checkpoints/last-1", ignore_errors=True)
    with np.load(last / "state.npz") as state:
        arrays = dict(state)
    metadata = (last / "checkpoint.json").read_bytes()
    for number, name in enumerate(list(arrays)[::step]):
        shape = arrays[name].shape
        others = (np.zeros((3, *shape)), np.full(shape, "x"), None)
        for other in others if step > 1 else (others[number % 3],):
            kept = {key: array for key, array in arrays.items() if key != name}
            content = io.BytesIO()
            np.savez(content, **(kept if other is None else {**kept, name: other}))
            (last / "state.npz").write_bytes(content.getvalue())
            reseal(last)
            result = trainer("resume", "run", "fit.epochs=+1")
            assert result.code == 2, (name, other, result)
            assert "Traceback" not in result.err, (name, other, result)
            (last / "checkpoint.json").write_bytes(metadata)


def variants(value: Any) -> Iterator[Any]:
    """Return copies of a value in each of which one part is replaced or removed."""
    for other in (None, -1, 1e308, "x", [], {}, [[1]], "9" * 100):
        yield other
    if isinstance(value, dict):
        for name, item in value.items():
            yield {key: part for key, part in value.items() if key != name}
            for other in variants(item):
                yield {**value, name: other}
    if isinstance(value, list):
        for number, item in enumerate(value[:2]):
            for other in variants(item):
                yield [*value[:number], other, *value[number + 1 :]]


@pytest.mark.parametrize("step", [61, pytest.param(13, marks=pytest.mark.slow)])
def test_values_in_the_preprocessing(step: int, run: Path, trainer: Callable) -> None:
    """Other values may change predictions, but never cause an internal error."""
    path = run / "preprocessing.json"
    good = json.loads(path.read_text())
    changed = list(variants(good))
    assert len(changed) > 300
    for number, variant in enumerate(changed[::step]):
        path.write_text(json.dumps(variant))
        # The two others build a model.
        commands = ["resume", "eval", "predict"] if number % 5 == 0 else ["resume"]
        for command in commands:
            result = trainer(*READERS[command])
            assert result.code == 2 or command != "resume" or variant == good, (variant, result)
            assert result.code in (0, 2), (variant, result)
            assert "Traceback" not in result.err, (variant, result)
    path.write_text(DEEP)
    check_readers(trainer, LISTED)


def parquet(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()


SPLITS = {
    "empty": b"",
    "PAR1": b"PAR1",
    "garbage": b"PAR1" + b"\xff" * 100 + b"PAR1",
    "other column": parquet(pl.DataFrame({"x": [1]})),
    "too few rows": parquet(pl.DataFrame({"row": range(59), "split": ["train"] * 59})),
    "unknown split": parquet(pl.DataFrame({"row": range(60), "split": ["elsewhere"] * 60})),
    "lists": parquet(pl.DataFrame({"row": range(60), "split": [[1]] * 60})),
    "nulls": parquet(pl.DataFrame({"row": range(60), "split": [None] * 60})),
    "too many rows": parquet(
        pl.DataFrame({"row": range(2_000_000), "split": ["train"] * 2_000_000})
    ),
}


def test_other_splits(run: Path, trainer: Callable) -> None:
    commands = ("eval", "resume")
    for name, content in SPLITS.items():
        (run / "splits.parquet").write_bytes(content)
        print(name)  # shown where it fails
        check_readers(trainer, {}, only=commands)
    # The splits are not read by these.
    check_readers(trainer, {"predict": {0}, "warm start": {0}}, only=("predict", "warm start"))
