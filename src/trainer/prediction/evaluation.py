"""Evaluate a trained network on its own splits or on other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config.locations import locate_problems
from trainer.data.dataset import Dataset
from trainer.data.new_data import evaluation_dataset
from trainer.data.samples import Samples
from trainer.data.sources import is_large
from trainer.data.splits import SplitName
from trainer.engine import devices
from trainer.engine.selection import exceeds_memory
from trainer.errors import Problem, RunError, command_text, pluralize
from trainer.prediction.predictor import Predictor
from trainer.prediction.trained_runs import data_settings_for, load_run_table
from trainer.tasks.evaluated import EvaluatedSamples


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEvaluation(EvaluatedSamples):
    """Metrics and predictions of a network for some rows.

    Attributes:
        run: The run directory.
        checkpoint: The name of the checkpoint.
        split: The name of the split, or None for other rows.
        data: The file of other rows, or None.
    """

    run: Path
    checkpoint: str
    split: SplitName | None
    data: Path | None


@dataclass(frozen=True, slots=True)
class EvaluationResults:
    """The results of one `trainer eval`."""

    results: tuple[SplitEvaluation, ...]
    warnings: tuple[str, ...]


def evaluate(
    predictor: Predictor,
    *,
    splits: tuple[SplitName, ...],
    data: Path | None,
    read_options: Sequence[str] = (),
) -> EvaluationResults:
    """Evaluate a checkpoint of a run, or the ensemble of its members.

    Members have different training and validation rows, so the ensemble is evaluated on the test rows
    or on other rows, by the mean of its predictions.

    Args:
        predictor: The run or checkpoint.
        splits: The splits of the run; ignored with `data`.
        data: A file with features and target, instead of the splits.
        read_options: Settings for reading `data`, as typed, that differ from those of the run.

    Raises:
        ConfigError: A setting is invalid.
        RunError: The run is damaged.
        DataError: Rows are missing, or the data of the run have changed since training.
    """
    first = predictor.members[0]
    settings = first.loaded.config.data
    if data is not None:
        splits = ("test",)
        settings = data_settings_for(first, data, read_options, "trainer eval")
    elif predictor.has_members:
        splits = _shared_splits(predictor, splits)
    with devices.tensorflow_import(in_background=is_large(settings)), locate_problems(first.loaded):
        tables = [
            load_run_table(member)
            if data is None
            else evaluation_dataset(
                settings, member.preprocessing, streamed=exceeds_memory(settings)
            )
            for member in predictor.representatives
        ]
        samples_of_split = {split: _samples(tables, split) for split in splits
                            if tables[0].rows(split)}  # fmt: skip
        if not samples_of_split:
            raise _no_rows(predictor, splits)
    predictor.load_networks()
    results = [
        _evaluate_split(predictor, split, data, samples)
        for split, samples in samples_of_split.items()
    ]
    encoding_warnings = dict.fromkeys(
        text for samples in samples_of_split.values() for text in samples[0].warnings
    )
    reading_warnings = () if data is None else tables[0].warnings
    return EvaluationResults(
        tuple(results), (*reading_warnings, *_dropped_rows(tables[0]), *encoding_warnings)
    )


def _evaluate_split(
    predictor: Predictor, split: SplitName, data: Path | None, samples: Sequence[Samples]
) -> SplitEvaluation:
    evaluated = predictor.evaluate(samples)
    for encoded in samples:
        encoded.release_pages()
    return SplitEvaluation(
        run=predictor.run.path,
        checkpoint=predictor.checkpoint,
        split=split if data is None else None,
        data=data,
        rows=evaluated.rows,
        metrics=evaluated.metrics,
        predictions=evaluated.predictions,
        texts=evaluated.texts,
    )


def _samples(tables: Sequence[Dataset], split: SplitName) -> list[Samples]:
    """Return the rows of a split, encoded by the preprocessing of each table."""
    samples = [table.samples(split) for table in tables]
    return [rows for rows in samples if rows is not None]


def _shared_splits(predictor: Predictor, splits: tuple[SplitName, ...]) -> tuple[SplitName, ...]:
    """Return the split whose rows all members share.

    Raises:
        RunError: Another split is requested.
    """
    if "test" not in splits:
        run = predictor.run
        raise RunError(
            Problem(
                str(run.path),
                "the test rows, which its members share",
                f"--split {splits[0]}",
                f"for the members' other splits see {run.evaluation}",
            )
        )
    return ("test",)


def _no_rows(predictor: Predictor, splits: Sequence[SplitName]) -> RunError:
    expected = f"rows of {' or '.join(splits)}"
    fix = "evaluate another split, or other rows with --data FILE"
    if predictor.has_members:
        expected = "the test rows, which its members share"
        shown = command_text("show", predictor.run.path)
        fix = f"evaluate other rows with --data FILE; for metrics of its validation rows: {shown}"
    found = "none: the split assigned no rows to it"
    return RunError(Problem(str(predictor.run.path), expected, found, fix))


def _dropped_rows(table: Dataset) -> list[str]:
    return [
        f"{pluralize(count, 'row')} dropped: {reason}" for reason, count in table.dropped.items()
    ]
