"""Evaluate a trained network on its own splits or on other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainer.data.dataset import Dataset
from trainer.data.new_data import evaluation_dataset
from trainer.data.recorded_splits import load_recorded_dataset
from trainer.data.scratch_arrays import release_pages
from trainer.data.sources import is_large
from trainer.data.splits import SplitName
from trainer.engine import devices
from trainer.engine.selection import exceeds_memory
from trainer.errors import Problem, RunError
from trainer.evaluation.predictions import Predictions
from trainer.workflows.plan import locate_problems
from trainer.workflows.predictor import Predictor, open_predictor
from trainer.workflows.trained_runs import TrainedRun, data_settings_for, load_network


@dataclass(frozen=True, slots=True)
class SplitEvaluation:
    """Metrics and predictions of a network for some rows.

    Attributes:
        run: The run directory.
        checkpoint: The name of the checkpoint.
        split: The name of the split, or None for other rows.
        data: The file of other rows, or None.
        rows: The number of rows.
        metrics: Metric → value, the loss first.
        predictions: The predictions.
    """

    run: Path
    checkpoint: str
    split: SplitName | None
    data: Path | None
    rows: int
    metrics: dict[str, float]
    predictions: Predictions = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class EvaluationResults:
    """The results of one `trainer eval`."""

    results: tuple[SplitEvaluation, ...]
    warnings: tuple[str, ...]


def evaluate(
    path: Path,
    *,
    splits: tuple[SplitName, ...],
    data: Path | None,
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
    read_options: Sequence[str] = (),
) -> EvaluationResults:
    """Evaluate a checkpoint of a run, or the ensemble of its members.

    Members have different training and validation rows, so the ensemble is evaluated on the test rows
    or on other rows, by the mean of its predictions.

    Args:
        path: A run directory or a checkpoint in it.
        splits: The splits of the run; ignored with `data`.
        data: A file with features and target, instead of the splits.
        device: "auto", "cpu" or "gpu".
        allow_custom: Whether custom layers may be imported.
        read_options: Settings for reading `data`, as typed, that differ from those of the run.

    Raises:
        ConfigError: A setting is invalid.
        RunError: The run does not exist or is damaged.
        DataError: Rows are missing, or the data of the run have changed since training.
    """
    predictor = open_predictor(path, device=device, allow_custom=allow_custom)
    if len(predictor.members) > 1 or predictor.run != predictor.members[0].run:
        return _evaluate_together(predictor, splits, data, read_options)
    (opened,) = predictor.members
    settings = opened.loaded.config.data
    if data is not None:
        settings = data_settings_for(opened, data, read_options, "trainer eval")
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
        samples_of_split = {split: samples for split in splits
                 if (samples := table.samples(split)) is not None}  # fmt: skip
        if not samples_of_split:
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
    results = []
    for split, samples in samples_of_split.items():
        encoded = task.encode_targets(samples)
        output = evaluator.evaluate(encoded)
        metrics = task.compute_metrics(output.predictions, encoded, output.rows)
        release_pages(samples.x)
        results.append(
            SplitEvaluation(
                opened.run.path,
                opened.checkpoint,
                split if data is None else None,
                data,
                len(samples.x),
                {"loss": output.loss, **metrics},
                task.predictions_from_outputs(encoded, output.predictions),
            )
        )
    encoding_warnings = dict.fromkeys(
        text for samples in samples_of_split.values() for text in samples.warnings
    )
    reading_warnings = () if data is None else table.warnings
    return EvaluationResults(
        tuple(results), (*reading_warnings, *_dropped_rows(table), *encoding_warnings)
    )


def _dropped_rows(table: Dataset) -> list[str]:
    return [
        f"{count:,} {'row' if count == 1 else 'rows'} dropped: {reason}"
        for reason, count in table.dropped.items()
    ]


def _evaluate_together(
    predictor: Predictor,
    splits: Sequence[SplitName],
    data: Path | None,
    read_options: Sequence[str],
) -> EvaluationResults:
    run, first = predictor.run, predictor.members[0]
    settings = first.loaded.config.data
    if data is None and "test" not in splits:
        raise RunError(
            Problem(
                str(run.path),
                "the test rows, which its members share",
                f"--split {splits[0]}",
                f"for the members' other splits see {run.evaluation}",
            )
        )
    if data is not None:
        settings = data_settings_for(first, data, read_options, "trainer eval")
    with devices.tensorflow_import(in_background=is_large(settings)), locate_problems(first.loaded):
        tables = [
            load_run_table(member)
            if data is None
            else evaluation_dataset(
                settings, member.preprocessing, streamed=exceeds_memory(settings)
            )
            for member in predictor.representatives
        ]
        optional_samples = [table.samples("test") for table in tables]
    samples = [test_rows for test_rows in optional_samples if test_rows is not None]
    if not samples:
        fix = "evaluate other rows with --data FILE"
        raise RunError(Problem(str(run.path), "test rows", "none: the split left it empty", fix))
    predictor.load_networks()
    predictions = predictor.predict_numbers([rows.x for rows in samples])
    task = predictor.task
    encoded = task.encode_targets(samples[0])
    evaluation = SplitEvaluation(
        run.path,
        f"best of {len(predictor.members)} members",
        "test" if data is None else None,
        data,
        len(encoded.x),
        task.prediction_metrics(predictions.mean, encoded),
        task.make_predictions(encoded, predictions.mean),
    )
    reading_warnings = () if data is None else tables[0].warnings
    warnings = (*reading_warnings, *_dropped_rows(tables[0]), *samples[0].warnings)
    return EvaluationResults((evaluation,), warnings)


def load_run_table(opened: TrainedRun) -> Dataset:
    """Return the table that a run was trained on, with its splits.

    Raises:
        DataError: The files are missing or have changed.
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
    except RunError as error:
        raise RunError(
            problem.at(str(opened.run.path / problem.where)) for problem in error.problems
        ) from error
