"""Evaluation of a trained network, on its own splits or on other rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.data.others import rows_to_judge_by
from trainer.data.prepare import PreparedTable
from trainer.data.recorded import recorded_table
from trainer.data.scratch import forget
from trainer.data.sources import is_large
from trainer.data.splits import SplitName
from trainer.engine import devices
from trainer.errors import Problem, RunError
from trainer.workflows.engines import beyond_memory
from trainer.workflows.plan import located
from trainer.workflows.trained import Opened, load_network, open_trained


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network scores on some rows.

    Attributes:
        run: The run directory.
        checkpoint: The checkpoint's name.
        split: The split's name, or None for other rows.
        data: The file of other rows, or None.
        rows: How many rows.
        metrics: Metric → value, the loss first.
    """

    run: Path
    checkpoint: str
    split: str | None
    data: Path | None
    rows: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Evaluations:
    """All that one `trainer eval` found."""

    found: tuple[Evaluation, ...]
    warnings: tuple[str, ...]


def evaluate(
    path: Path,
    *,
    splits: tuple[SplitName, ...],
    data: Path | None,
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
) -> Evaluations:
    """Evaluate a run's checkpoint.

    Args:
        path: A run directory or a checkpoint in it.
        splits: Which of its own splits; ignored with `data`.
        data: A file with features and target, in place of the splits.
        device: "auto", "cpu" or "gpu".
        allow_custom: Whether layers of the user's own may be imported.

    Raises:
        RunError: There is no such run or it is damaged.
        DataError: Rows are missing, or the run's own data are no longer those it was trained on.
    """
    opened = open_trained(path)
    settings = opened.loaded.config.data
    if data is not None:
        settings = settings.model_copy(update={"source": str(data)})
    with devices.importing(worthwhile=is_large(settings)), located(opened.loaded):
        if data is not None:
            table = rows_to_judge_by(
                settings, opened.preprocessing, in_parts=beyond_memory(settings)
            )
            splits = ("test",)
        else:
            table = _own_table(opened)
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

    question = opened.question
    with located(opened.loaded):
        network = load_network(opened, allow_custom=allow_custom)
    evaluator = Evaluator(network, build_loss(opened.loaded.config.loss, question.loss))
    found = []
    for split, samples in parts.items():
        laid_out = question.head_targets(samples)
        done = evaluator.evaluate(laid_out)
        measures = question.measure(done.predictions, laid_out, done.rows)
        forget(samples.x)
        found.append(
            Evaluation(
                opened.run.path,
                opened.checkpoint,
                split if data is None else None,
                data,
                len(samples.x),
                {"loss": done.loss, **measures},
            )
        )
    lost = [
        f"{count:,} {'row' if count == 1 else 'rows'} left out: {reason}"
        for reason, count in table.dropped.items()
    ]
    odd = dict.fromkeys(text for samples in parts.values() for text in samples.warnings)
    return Evaluations(tuple(found), (*lost, *odd))


def _own_table(opened: Opened) -> PreparedTable:
    manifest, data = opened.run.read_manifest(), opened.loaded.config.data
    streamed = manifest.engine is not None and manifest.engine.startswith("streaming")
    try:
        return recorded_table(
            data,
            opened.preprocessing,
            opened.run.read_splits(),
            {file.path: file.sha256 for file in manifest.data},
            in_parts=streamed or beyond_memory(data),
        )
    except RunError as damaged:
        raise RunError(
            problem.at(str(opened.run.path / problem.where)) for problem in damaged.problems
        ) from damaged
