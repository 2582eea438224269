"""What a trained network looks at: importance, curves, a surface, SHAP values, in `explanation/`.

Owns: which rows are asked about, in which order, the files. Does not own: what is computed of them
(`importance`, `dependence`, `shapley`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import polars as pl

from trainer.config.load import LoadedConfig
from trainer.data.new_data import prediction_batches
from trainer.data.prepare import SplitTable
from trainer.data.preprocessing import Preprocessing
from trainer.data.sampling import RowSample, draw_row_sample
from trainer.data.sources import is_large
from trainer.data.splits import SplitName
from trainer.data.values import text
from trainer.engine import devices
from trainer.errors import DataError, Problem, RunError, UsageError, did_you_mean
from trainer.evaluation.importance import permutation_importance
from trainer.evaluation.perturbations import EncodedRows, Float32Array, PredictFn
from trainer.evaluation.predictions import FloatArray
from trainer.report.explanations import ShapColumn, ShapFile
from trainer.runs.directory import RunDirectory
from trainer.runs.files import json_bytes
from trainer.runs.records import to_json
from trainer.workflows.dependence import partial_dependence_json, surface_json
from trainer.workflows.engines import exceeds_memory
from trainer.workflows.evaluate import load_run_table
from trainer.workflows.importance import MAX_ROWS, importance_json
from trainer.workflows.plan import locate_problems
from trainer.workflows.predict import unique_encoders
from trainer.workflows.shapley import load_shap, shap_values
from trainer.workflows.task import Task
from trainer.workflows.trained_runs import TrainedRun, data_settings_for, open_members

MAX_SHAP_ROWS = 10_000
CURVE_ROWS = 1_000
CURVES = 10
_BACKGROUND_ROWS = 100


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found.

    Attributes:
        run: The run directory.
        checkpoint: The checkpoint's name.
        folder: Where the files are.
        files: Their names.
        importance: What `importance.json` holds.
        shap: What `shap.json` holds; None where it was not asked for.
    """

    run: Path
    checkpoint: str
    folder: Path
    files: tuple[str, ...]
    importance: dict[str, Any]
    shap: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class _ShapRows:
    """Rows whose answers are taken apart, and those that missing columns are taken from."""

    source: str
    numbers: Sequence[int]
    frame: pl.DataFrame
    background: pl.DataFrame


def explain(
    path: Path,
    *,
    split: Literal["validation", "test"] | None,
    repeats: int,
    columns: tuple[str, ...],
    shap_rows: int | Path | None,
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
    reading: Sequence[str] = (),
) -> Explanation:
    """Ask a run, a checkpoint, or the members of a run together, what they look at.

    Args:
        path: A run directory or a checkpoint in it.
        split: The rows that are asked about; None: the validation rows, of several members, whose
            validation rows differ, the test rows. At most 200,000 of them, drawn by the run's seed.
        repeats: How often each column is shuffled.
        columns: The columns whose curves are made, a word one or several by commas; none given: the ten
            most important ones.
        shap_rows: So many test rows, drawn by the run's seed, or a file, whose answers are taken apart.
        device: "auto", "cpu" or "gpu".
        allow_custom: Whether layers of the user's own may be imported.
        reading: Settings of how the file is read, as typed, where that differs from the run's data.

    Raises:
        ConfigError: Such a setting is wrong.
        RunError: There is no such run, it is damaged, or it has no such rows.
        DataError: The run's own data are no longer those it was trained on, or the file is wrong.
        UsageError: A column is none of the features, or `shap` is not installed.
        StorageError: The files could not be written.
    """
    if shap_rows is not None:
        load_shap()
    run, members = open_members(path)
    first, task = members[0], members[0].task
    if split is None:
        split = "validation" if run == first.run else "test"
    elif split == "validation" and run != first.run:
        found, fix = "--split validation", "leave it out, or explain one of its members"
        expected = "the test rows, which its members share"
        raise RunError(Problem(str(run.path), expected, found, fix))
    encoders = unique_encoders([member.preprocessing for member in members])
    columns = _named(columns, encoders)
    seed = first.loaded.config.seed
    data = first.loaded.config.data
    with devices.tensorflow_import(in_background=is_large(data)), _told(first.loaded):
        table = load_run_table(first)
        assert isinstance(table, SplitTable)
        sample = _rows_of(run, table, split, MAX_ROWS, seed)
        taken_apart = None
        if shap_rows is not None:
            taken_apart = _shap_rows(run, first, table, shap_rows, seed, reading)
    devices.start(device, devices.usable_cores())
    from trainer.workflows.ensemble import Ensemble

    with locate_problems(first.loaded):
        ensemble = Ensemble(members, allow_custom=allow_custom)
    of_member = [encoders.index(member.preprocessing) for member in members]

    def ask(encoded: Sequence[Float32Array]) -> FloatArray:
        return ensemble.answers([encoded[number] for number in of_member]).mean

    level = first.loaded.config.evaluate.confidence_level
    importance = _importance(encoders, sample, task, ask, repeats, seed, level)
    run.write_explanation("importance.json", json_bytes(importance))
    files = ["importance.json"]
    names = columns or tuple(one["column"] for one in importance["columns"][:CURVES])
    few, answers = sample.take(CURVE_ROWS, seed), task.prediction_names
    curves = partial_dependence_json(names, encoders, few.frame, few.weight, ask, answers, split)
    run.write_explanation("partial_dependence.json", json_bytes(curves))
    files.append("partial_dependence.json")
    surface = surface_json(encoders, few.frame, task.in_words(_truth(few)), ask, answers, split)
    if surface is not None:
        run.write_explanation("surface.json", json_bytes(surface))
        files.append("surface.json")
    shap = None
    if taken_apart is not None:
        shap = _write_shap(run, taken_apart, encoders, ask, answers, seed)
        files += ["shap.json", "shap.parquet"]
    checkpoint = first.checkpoint if run == first.run else f"best of {len(members)} members"
    return Explanation(run.path, checkpoint, run.explanation, tuple(files), importance, shap)


@contextmanager
def _told(loaded: LoadedConfig) -> Iterator[None]:
    """As `locate_problems`; importance needs the run's own rows, others are not offered."""
    try:
        with locate_problems(loaded):
            yield
    except DataError as wrong:
        offer = ", or evaluate other rows with --data FILE"
        raise DataError(
            replace(problem, fix=problem.fix.removesuffix(offer)) for problem in wrong.problems
        ) from wrong


def _named(words: Sequence[str], encoders: Sequence[Preprocessing]) -> tuple[str, ...]:
    """The columns that are meant; a word that is none may be several, by commas."""
    known = list(dict.fromkeys(name for encoder in encoders for name in encoder.places))
    names = [name for word in words for name in ([word] if word in known else word.split(","))]
    problems = [
        Problem(
            "--columns",
            "features of the run",
            f"'{name}'",
            did_you_mean(name, known, f"it has {', '.join(known[:8])}"),
        )
        for name in names
        if name not in known
    ]
    if problems:
        raise UsageError(problems)
    return tuple(dict.fromkeys(names))


def _rows_of(
    run: RunDirectory, table: SplitTable, split: SplitName, most: int, seed: int
) -> RowSample:
    sample = draw_row_sample(table, split, most, seed)
    if sample is None:
        other: SplitName = "test" if split == "validation" else "validation"
        fix = f"explain it on other rows with --split {other}" if table.rows(other) else ""
        found = "none: the split left it empty"
        raise RunError(Problem(str(run.path), f"{split} rows", found, fix))
    return sample


def _importance(
    encoders: Sequence[Preprocessing],
    sample: RowSample,
    task: Task,
    ask: PredictFn,
    repeats: int,
    seed: int,
    level: float,
) -> dict[str, Any]:
    began = perf_counter()
    encodings = [EncodedRows(one.transform(sample.frame).x, one.places) for one in encoders]
    found = permutation_importance(
        task.target.task,
        encodings,
        _truth(sample),
        sample.weight,
        ask,
        repeats=repeats,
        seed=seed,
        confidence_level=level,
    )
    facts = importance_json(found, sample.split, sample.of, level)
    return {**facts, "seconds": round(perf_counter() - began, 3)}


def _truth(sample: RowSample) -> FloatArray:
    """(n, k) the targets as answers have them."""
    return sample.y if sample.values is None else sample.values


def _shap_rows(
    run: RunDirectory,
    opened: TrainedRun,
    table: SplitTable,
    wanted: int | Path,
    seed: int,
    reading: Sequence[str],
) -> _ShapRows:
    background = _rows_of(run, table, "train", _BACKGROUND_ROWS, seed).frame
    if isinstance(wanted, int):
        sample = _rows_of(run, table, "test", wanted, seed)
        return _ShapRows("test", sample.rows.tolist(), sample.frame, background)
    data = data_settings_for(opened, wanted, reading, "trainer explain")
    names = tuple(background.columns)
    parts: list[pl.DataFrame] = []
    for part in prediction_batches(
        data, opened.preprocessing, names, streamed=exceeds_memory(data)
    ):
        parts.append(part.kept)
        rows = sum(one.height for one in parts)
        if rows > MAX_SHAP_ROWS:
            fix = "take some of them: each is answered many thousand times"
            expected = f"at most {MAX_SHAP_ROWS:,} rows to take apart"
            raise DataError(Problem(str(wanted), expected, f"{rows:,}", fix))
    return _ShapRows(str(wanted), range(rows), pl.concat(parts).select(names), background)


def _write_shap(
    run: RunDirectory,
    asked: _ShapRows,
    encoders: Sequence[Preprocessing],
    ask: PredictFn,
    answers: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Write both files; what `shap.json` holds."""
    rows = [EncodedRows(one.transform(asked.frame).x, one.places) for one in encoders]
    background = [one.transform(asked.background).x for one in encoders]
    found = shap_values(ask, rows, background, seed)
    height, width, numbers = found.values.shape
    cells = pl.concat([text(asked.frame[name]).alias("value") for name in found.columns])
    # By column, then row, then answer.
    frame = pl.DataFrame(
        {
            "row": pl.Series(asked.numbers, dtype=pl.Int64).gather(
                [row for row in range(height) for _ in range(numbers)] * width
            ),
            "answer": list(answers) * (height * width),
            "column": [name for name in found.columns for _ in range(height * numbers)],
            "value": cells.gather([at for at in range(height * width) for _ in range(numbers)]),
            "shap": found.values.transpose(1, 0, 2).ravel(),
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    sizes = abs(found.values).mean(axis=0)
    record = ShapFile(
        names=tuple(answers),
        columns=tuple(
            ShapColumn(name, tuple(sizes[at].tolist()))
            for at, name in sorted(enumerate(found.columns), key=lambda one: -sizes[one[0]].sum())
        ),
        source=asked.source,
        rows=tuple(asked.numbers),
        base=tuple(found.base.tolist()),
        answers=tuple(map(tuple, found.answers.tolist())),
        background_rows=asked.background.height,
        orders=found.orders,
        largest_gap=found.largest_gap,
    )
    facts: dict[str, Any] = to_json(record)
    run.write_explanation("shap.parquet", buffer.getvalue())
    run.write_explanation("shap.json", json_bytes(facts))
    return facts
