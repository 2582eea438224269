"""Values that no run would have, in each file of a run."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.cli.hostile.attack import (
    LOOKS,
    READERS,
    reseal,
    survive,
)

DEEP = "[" * 100_000 + "]" * 100_000
NUMBERS: dict[str, str] = {
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


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
def test_wild_values_in_the_manifest(value: str, run: Path, trainer: Callable) -> None:
    path = run / "manifest.json"
    text = path.read_text()
    for name in json.loads(text):
        facts = json.loads(text)
        facts[name] = "HERE"
        path.write_text(json.dumps(facts).replace('"HERE"', value, 1))
        for arguments in (("show", "run"), ("show", "run", "--json"), ("ls", ".", "--json")):
            result = trainer(*arguments)
            assert result.code in (0, 2), (name, arguments, result)
            assert "Traceback" not in result.err, (name, arguments, result)
    path.write_text(value)
    unread = {verb: {0, 2} for verb in ("predict", "warm start")}
    survive(trainer, {**LOOKS, **unread})


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
def test_wild_values_in_logs_and_evaluations(value: str, run: Path, trainer: Callable) -> None:
    for name, content in {
        "evaluation/test.json": value,
        "evaluation/other.json": f'{{"metrics": {{"loss": {value}, "x": {{}}}}, "rows": {value}}}',
        "metrics.jsonl": f'{{"epoch": {value}, "loss": {value}}}\n' * 3,
        "timing.jsonl": f'{{"epoch": 1, "seconds": {value}}}\n',
    }.items():
        kept = (run / name).read_bytes() if (run / name).exists() else None
        (run / name).write_text(content)
        for arguments in (("show", "run"), ("show", "run", "--json"), ("ls", ".", "--json")):
            result = trainer(*arguments)
            assert result.code in (0, 2), (name, arguments, result)
            assert "Traceback" not in result.err, (name, arguments, result)
        result = trainer("resume", "run", "fit.max_seconds=1")
        assert result.code in (0, 2), (name, result)
        assert "Traceback" not in result.err, (name, result)
        if kept is None:
            (run / name).unlink()
        else:
            (run / name).write_bytes(kept)


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
def test_wild_values_in_a_checkpoint(value: str, run: Path, trainer: Callable) -> None:
    last = run / "checkpoints/last"
    kept = (last / "checkpoint.json").read_bytes()
    names = [name for name in json.loads(kept) if name not in ("sha256", "files", "weights_sha256")]
    inner = [("form", "steps_in_a_call"), ("form", "epochs_in_a_block"), ("monitors", "best")]
    shutil.rmtree(run / "checkpoints/last-1", ignore_errors=True)
    for place in [*((name,) for name in names), *inner]:

        def put(facts: dict[str, Any], place: tuple[str, ...] = place) -> None:
            at = facts
            for step in place[:-1]:
                at = at[step]
            try:
                at[place[-1]] = json.loads(value)
            except (ValueError, RecursionError):
                at[place[-1]] = value

        try:
            reseal(last, put)
        except RecursionError:
            return
        result = trainer("resume", "run", "fit.epochs=+1")
        harmless = place == ("stopped_because",) and value in ("null", NUMBERS["a text"])
        harmless |= place == ("stopped_because",) and value.startswith(('"xx', "9", "["))
        assert result.code == 2 or harmless, (place, result)
        assert "Traceback" not in result.err, (place, result)
        if harmless:
            return
        (last / "checkpoint.json").write_bytes(kept)


def test_arrays_of_other_shapes(run: Path, trainer: Callable) -> None:
    last = run / "checkpoints/last"
    shutil.rmtree(run / "checkpoints/last-1", ignore_errors=True)
    with np.load(last / "state.npz") as state:
        arrays = dict(state)
    facts = (last / "checkpoint.json").read_bytes()
    for name, value in arrays.items():
        for other in (
            np.zeros((3, *value.shape)),
            np.full(value.shape, "x"),
            None,
        ):
            left = {key: item for key, item in arrays.items() if key != name}
            content = io.BytesIO()
            np.savez(content, **(left if other is None else {**left, name: other}))
            (last / "state.npz").write_bytes(content.getvalue())
            reseal(last)
            result = trainer("resume", "run", "fit.epochs=+1")
            assert result.code == 2, (name, other, result)
            assert "Traceback" not in result.err, (name, other, result)
            (last / "checkpoint.json").write_bytes(facts)


def wild(value: Any) -> Iterator[Any]:
    """The value with each of its parts in turn replaced by something else."""
    for other in (None, -1, 1e308, "x", [], {}, [[1]], "9" * 100):
        yield other
    if isinstance(value, dict):
        for name, item in value.items():
            yield {key: part for key, part in value.items() if key != name}
            for other in wild(item):
                yield {**value, name: other}
    if isinstance(value, list):
        for number, item in enumerate(value[:2]):
            for other in wild(item):
                yield [*value[:number], other, *value[number + 1 :]]


def test_a_wild_preprocessing(run: Path, trainer: Callable) -> None:
    """Other numbers in it make other predictions; nothing in it makes a bug."""
    path = run / "preprocessing.json"
    good = json.loads(path.read_text())
    variants = list(wild(good))
    assert len(variants) > 300
    for number, variant in enumerate(variants[::7]):
        path.write_text(json.dumps(variant))
        # The two others take as long as a network takes to be built.
        verbs = ["resume", "eval", "predict"] if number % 5 == 0 else ["resume"]
        for verb in verbs:
            result = trainer(*READERS[verb])
            assert result.code == 2 or verb != "resume" or variant == good, (variant, result)
            assert result.code in (0, 2), (variant, result)
            assert "Traceback" not in result.err, (variant, result)
    path.write_text(DEEP)
    survive(trainer, LOOKS)


def parquet(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"PAR1" + b"\xff" * 100 + b"PAR1",
        parquet(pl.DataFrame({"x": [1]})),
        parquet(pl.DataFrame({"row": range(59), "split": ["train"] * 59})),
        parquet(pl.DataFrame({"row": range(60), "split": ["elsewhere"] * 60})),
        parquet(pl.DataFrame({"row": range(60), "split": [[1]] * 60})),
        parquet(pl.DataFrame({"row": range(60), "split": [None] * 60})),
        parquet(pl.DataFrame({"row": range(2_000_000), "split": ["train"] * 2_000_000})),
    ],
    ids=range(9),
)
def test_other_splits(content: bytes, run: Path, trainer: Callable) -> None:
    (run / "splits.parquet").write_bytes(content)
    unread = {**LOOKS, "predict": {0}, "warm start": {0}}
    survive(trainer, unread)
