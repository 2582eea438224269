"""Evaluation of a trained network, on its own splits or on other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainer.data.new_data import evaluation_dataset
from trainer.data.prepare import Dataset
from trainer.data.recorded_splits import load_recorded_dataset
from trainer.data.scratch_arrays import release_pages
from trainer.data.sources import is_large
from trainer.data.splits import SplitName
from trainer.engine import devices
from trainer.errors import Problem, RunError
from trainer.evaluation.predictions import Predictions
from trainer.runs.directory import RunDirectory
from trainer.workflows.engines import exceeds_memory
from trainer.workflows.plan import locate_problems
from trainer.workflows.predict import unique_encoders
from trainer.workflows.trained_runs import (
    TrainedRun,
    data_settings_for,
    ensemble_task,
    load_network,
    open_members,
)


@dataclass(frozen=True, slots=True)
class SplitEvaluation:
    """What a network scores on some rows.

    Attributes:
        run: The run directory.
        checkpoint: The checkpoint's name.
        split: The split's name, or None for other rows.
        data: The file of other rows, or None.
        rows: How many rows.
        metrics: Metric → value, the loss first.
        answers: What it says of each row.
    """

    run: Path
    checkpoint: str
    split: SplitName | None
    data: Path | None
    rows: int
    metrics: dict[str, float]
    answers: Predictions = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class EvaluationResults:
    """All that one `trainer eval` found."""

    found: tuple[SplitEvaluation, ...]
    warnings: tuple[str, ...]


def evaluate(
    path: Path,
    *,
    splits: tuple[SplitName, ...],
    data: Path | None,
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
    reading: Sequence[str] = (),
) -> EvaluationResults:
    """Evaluate a run's checkpoint, or the members of a run together.

    Members have their own training and validation rows; together they are evaluated on the test rows, or
    on other rows, by the mean of their answers.

    Args:
        path: A run directory or a checkpoint in it.
        splits: Which of its own splits; ignored with `data`.
        data: A file with features and target, in place of the splits.
        device: "auto", "cpu" or "gpu".
        allow_custom: Whether layers of the user's own may be imported.
        reading: Settings of how `data` is read, as typed, where that differs from the run's own.

    Raises:
        ConfigError: A setting is wrong.
        RunError: There is no such run or it is damaged.
        DataError: Rows are missing, or the run's own data are no longer those it was trained on.
    """
    run, members = open_members(path)
    if len(members) > 1 or run != members[0].run:
        return _evaluate_together(
            run, members, splits, data, device, allow_custom=allow_custom, reading=reading
        )
    (opened,) = members
    settings = opened.loaded.config.data
    if data is not None:
        settings = data_settings_for(opened, data, reading, "trainer eval")
    with (
        devices.tensorflow_import(in_background=is_large(settings)),
        locate_problems(opened.loaded),
    ):
        if data is not None:
            table = evaluation_dataset(
                settings, opened.preprocessing, streamed=exceeds_memory(settings)
            )
            splits = ("test",)
        else:
            table = load_run_table(opened)
        parts = {split: samples for split in splits
                 if (samples := table.samples(split)) is not None}  # fmt: skip
        if not parts:
            raise RunError(
                Problem(
                    str(opened.run.path),
                    f"rows of {' or '.join(splits)}",
                    "none: the split left it empty",
                    "evaluate another split, or other rows with --data FILE",
                )
            )
    devices.start(device, devices.usable_cores())
    from trainer.engine.batches import Evaluator
    from trainer.models.losses import build_loss

    task = opened.task
    with locate_problems(opened.loaded):
        network = load_network(opened, allow_custom=allow_custom)
    evaluator = Evaluator(network, build_loss(opened.loaded.config.loss, task.loss))
    found = []
    for split, samples in parts.items():
        laid_out = task.encode_targets(samples)
        done = evaluator.evaluate(laid_out)
        measures = task.compute_metrics(done.predictions, laid_out, done.rows)
        release_pages(samples.x)
        found.append(
            SplitEvaluation(
                opened.run.path,
                opened.checkpoint,
                split if data is None else None,
                data,
                len(samples.x),
                {"loss": done.loss, **measures},
                task.said(laid_out, done.predictions),
            )
        )
    odd = dict.fromkeys(text for samples in parts.values() for text in samples.warnings)
    reading_warnings = () if data is None else table.warnings
    return EvaluationResults(tuple(found), (*reading_warnings, *_lost(table), *odd))


def _lost(table: Dataset) -> list[str]:
    return [
        f"{count:,} {'row' if count == 1 else 'rows'} left out: {reason}"
        for reason, count in table.dropped.items()
    ]


def _evaluate_together(
    run: RunDirectory,
    members: Sequence[TrainedRun],
    splits: Sequence[SplitName],
    data: Path | None,
    device: Literal["auto", "cpu", "gpu"],
    *,
    allow_custom: bool,
    reading: Sequence[str],
) -> EvaluationResults:
    first = members[0]
    settings = first.loaded.config.data
    if data is None and "test" not in splits:
        raise RunError(
            Problem(
                str(run.path),
                "the test rows, which its members share",
                f"--split {splits[0]}",
                f"its members' own are in {run.evaluation}",
            )
        )
    if data is not None:
        settings = data_settings_for(first, data, reading, "trainer eval")
    encoders = unique_encoders([member.preprocessing for member in members])
    own = [next(one for one in members if one.preprocessing == encoder) for encoder in encoders]
    with devices.tensorflow_import(in_background=is_large(settings)), locate_problems(first.loaded):
        tables = [
            load_run_table(one)
            if data is None
            else evaluation_dataset(settings, one.preprocessing, streamed=exceeds_memory(settings))
            for one in own
        ]
        found = [table.samples("test") for table in tables]
    samples = [one for one in found if one is not None]
    if not samples:
        fix = "evaluate other rows with --data FILE"
        raise RunError(Problem(str(run.path), "test rows", "none: the split left it empty", fix))
    devices.start(device, devices.usable_cores())
    from trainer.workflows.ensemble import Ensemble

    with locate_problems(first.loaded):
        ensemble = Ensemble(members, allow_custom=allow_custom)
    answers = ensemble.answers([samples[encoders.index(one.preprocessing)].x for one in members])
    laid_out = first.task.encode_targets(samples[0])
    task = ensemble_task(run, members)
    evaluation = SplitEvaluation(
        run.path,
        f"best of {len(members)} members",
        "test" if data is None else None,
        data,
        len(laid_out.x),
        task.prediction_metrics(answers.mean, laid_out),
        task.answered(laid_out, answers.mean),
    )
    reading_warnings = () if data is None else tables[0].warnings
    warnings = (*reading_warnings, *_lost(tables[0]), *samples[0].warnings)
    return EvaluationResults((evaluation,), warnings)


def load_run_table(opened: TrainedRun) -> Dataset:
    """The table that a run was made with, split as it was then.

    Raises:
        DataError: The files are gone, or are not what they were.
        RunError: The record of the splits is damaged.
    """
    manifest, data = opened.run.read_manifest(), opened.loaded.config.data
    streamed = manifest.engine is not None and manifest.engine.startswith("streaming")
    try:
        return load_recorded_dataset(
            data,
            opened.preprocessing,
            opened.run.read_splits(),
            {file.path: file.sha256 for file in manifest.data},
            streamed=streamed or exceeds_memory(data),
        )
    except RunError as damaged:
        raise RunError(
            problem.at(str(opened.run.path / problem.where)) for problem in damaged.problems
        ) from damaged
