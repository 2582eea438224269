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
from trainer.data.others import rows_to_ask_about
from trainer.data.prepare import Division
from trainer.data.preprocessing import Preprocessing
from trainer.data.sampling import Sample, draw_sample
from trainer.data.sources import is_large
from trainer.data.splits import SplitName
from trainer.data.values import text
from trainer.engine import devices
from trainer.errors import DataError, Problem, RunError, UsageError, did_you_mean
from trainer.evaluation.alterations import Ask, Encoding, Singles
from trainer.evaluation.answers import Floats
from trainer.evaluation.importance import permutation_importance
from trainer.report.explanations import ShapColumn, ShapFile
from trainer.runs.directory import RunDirectory
from trainer.runs.files import json_bytes
from trainer.runs.records import to_json
from trainer.workflows.dependence import dependence_facts, surface_facts
from trainer.workflows.engines import beyond_memory
from trainer.workflows.evaluate import own_table
from trainer.workflows.importance import MOST_ROWS, importance_facts
from trainer.workflows.plan import located
from trainer.workflows.predict import distinct
from trainer.workflows.question import Question
from trainer.workflows.shapley import load_shap, shap_values
from trainer.workflows.trained import Opened, data_of, open_all

MOST_SHAP_ROWS = 10_000
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
    run, members = open_all(path)
    first, question = members[0], members[0].question
    if split is None:
        split = "validation" if run == first.run else "test"
    elif split == "validation" and run != first.run:
        found, fix = "--split validation", "leave it out, or explain one of its members"
        expected = "the test rows, which its members share"
        raise RunError(Problem(str(run.path), expected, found, fix))
    encoders = distinct([member.preprocessing for member in members])
    columns = _named(columns, encoders)
    seed = first.loaded.config.seed
    data = first.loaded.config.data
    with devices.importing(worthwhile=is_large(data)), _told(first.loaded):
        table = own_table(first)
        assert isinstance(table, Division)
        sample = _rows_of(run, table, split, MOST_ROWS, seed)
        taken_apart = None
        if shap_rows is not None:
            taken_apart = _shap_rows(run, first, table, shap_rows, seed, reading)
    devices.start(device, devices.usable_cores())
    from trainer.workflows.ensemble import Ensemble

    with located(first.loaded):
        ensemble = Ensemble(members, allow_custom=allow_custom)
    of_member = [encoders.index(member.preprocessing) for member in members]

    def ask(encoded: Sequence[Singles]) -> Floats:
        return ensemble.answers([encoded[number] for number in of_member]).mean

    level = first.loaded.config.evaluate.confidence_level
    importance = _importance(encoders, sample, question, ask, repeats, seed, level)
    run.write_explanation("importance.json", json_bytes(importance))
    files = ["importance.json"]
    names = columns or tuple(one["column"] for one in importance["columns"][:CURVES])
    few, answers = sample.take(CURVE_ROWS, seed), question.answer_names
    curves = dependence_facts(names, encoders, few.frame, few.weight, ask, answers, split)
    run.write_explanation("partial_dependence.json", json_bytes(curves))
    files.append("partial_dependence.json")
    surface = surface_facts(
        encoders, few.frame, question.in_words(_truth(few)), ask, answers, split
    )
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
    """As `located`; importance needs the run's own rows, others are not offered."""
    try:
        with located(loaded):
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


def _rows_of(run: RunDirectory, table: Division, split: SplitName, most: int, seed: int) -> Sample:
    sample = draw_sample(table, split, most, seed)
    if sample is None:
        other: SplitName = "test" if split == "validation" else "validation"
        fix = f"explain it on other rows with --split {other}" if table.rows(other) else ""
        found = "none: the split left it empty"
        raise RunError(Problem(str(run.path), f"{split} rows", found, fix))
    return sample


def _importance(
    encoders: Sequence[Preprocessing],
    sample: Sample,
    question: Question,
    ask: Ask,
    repeats: int,
    seed: int,
    level: float,
) -> dict[str, Any]:
    began = perf_counter()
    encodings = [Encoding(one.transform(sample.frame).x, one.places) for one in encoders]
    found = permutation_importance(
        question.target.task,
        encodings,
        _truth(sample),
        sample.weight,
        ask,
        repeats=repeats,
        seed=seed,
        confidence_level=level,
    )
    facts = importance_facts(found, sample.split, sample.of, level)
    return {**facts, "seconds": round(perf_counter() - began, 3)}


def _truth(sample: Sample) -> Floats:
    """(n, k) the targets as answers have them."""
    return sample.y if sample.values is None else sample.values


def _shap_rows(
    run: RunDirectory,
    opened: Opened,
    table: Division,
    wanted: int | Path,
    seed: int,
    reading: Sequence[str],
) -> _ShapRows:
    background = _rows_of(run, table, "train", _BACKGROUND_ROWS, seed).frame
    if isinstance(wanted, int):
        sample = _rows_of(run, table, "test", wanted, seed)
        return _ShapRows("test", sample.rows.tolist(), sample.frame, background)
    data = data_of(opened, wanted, reading, "trainer explain")
    names = tuple(background.columns)
    parts: list[pl.DataFrame] = []
    for part in rows_to_ask_about(data, opened.preprocessing, names, in_parts=beyond_memory(data)):
        parts.append(part.kept)
        rows = sum(one.height for one in parts)
        if rows > MOST_SHAP_ROWS:
            fix = "take some of them: each is answered many thousand times"
            expected = f"at most {MOST_SHAP_ROWS:,} rows to take apart"
            raise DataError(Problem(str(wanted), expected, f"{rows:,}", fix))
    return _ShapRows(str(wanted), range(rows), pl.concat(parts).select(names), background)


def _write_shap(
    run: RunDirectory,
    asked: _ShapRows,
    encoders: Sequence[Preprocessing],
    ask: Ask,
    answers: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Write both files; what `shap.json` holds."""
    rows = [Encoding(one.transform(asked.frame).x, one.places) for one in encoders]
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
