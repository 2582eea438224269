"""Everything of a run that is known before TensorFlow is loaded: what `trainer check` prints and `fit`
starts from.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from trainer.config.conflicts import task_conflicts
from trainer.config.load import LoadedConfig
from trainer.config.objectives import UNSCALED_LOSSES
from trainer.config.resolve import monitored_metrics, resolved_steps
from trainer.config.schema import Config
from trainer.data.arrays import RowIndex
from trainer.data.features import split_column
from trainer.data.prepare import Dataset, prepare
from trainer.data.streaming import StreamedDataset, prepare_streaming
from trainer.errors import ConfigError, DataError, Problem, TrainerError
from trainer.models.summary import LayerSummary, MemoryEstimate, estimate_memory, summarize_layers
from trainer.runs.decisions import Decisions
from trainer.tracking.trackers import tracking_problems
from trainer.workflows.checking import missing_sources
from trainer.workflows.engines import EngineChoice, choose_engine
from trainer.workflows.inherited_decisions import read_inherited_decisions
from trainer.workflows.slicing import slice_problems
from trainer.workflows.task import Task, make_task
from trainer.workflows.trained_runs import open_trained


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run, before training.

    Attributes:
        loaded: The config and where its settings stand.
        dataset: Rows, splits and fitted preprocessing.
        engine: Where the rows are while training, and why.
        task: Head, loss and metrics.
        layers: Each layer with its output shape and parameters.
        parameters: All of them; None where a custom layer hides them.
        memory: Bytes for weights, gradients and optimizer; None likewise.
        data_bytes: Bytes of the encoded rows.
        steps_per_epoch: Batches an epoch.
        total_steps: Batches in all.
        inherited: The decisions of another run, which are used rather than chosen.
        warnings: What a user should know.
        notes: What was assumed of the data, with the setting that changes it.
    """

    loaded: LoadedConfig
    dataset: Dataset
    engine: EngineChoice
    task: Task
    layers: tuple[LayerSummary, ...]
    parameters: int | None
    memory: MemoryEstimate | None
    data_bytes: int
    steps_per_epoch: int
    total_steps: int
    inherited: Decisions | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def config(self) -> Config:
        return self.loaded.config


SharedTable = tuple[EngineChoice, Dataset]


class TableCache:
    """Tables that several plans share: what is read, split and fitted alike is so once."""

    def __init__(self) -> None:
        self._made: dict[str, SharedTable] = {}

    def dataset(self, config: Config) -> tuple[EngineChoice, Dataset]:
        """Where the rows of a config are while training, and the rows."""
        key = _table_key(config)
        if key not in self._made:
            missing = missing_sources(config.data)
            if missing:
                raise DataError(missing)
            choice = choose_engine(config)
            resident = choice.engine == "resident"
            table: Dataset = prepare(config) if resident else prepare_streaming(config)
            self._made[key] = (choice, table)
        return self._made[key]

    def handed(self, config: Config) -> tuple[str, SharedTable | None]:
        """The table of a config for another process, under the name that it is taken by; None of one
        that does not fit in memory, which each reads for itself.
        """
        key = _table_key(config)
        choice, table = self.dataset(config)
        return key, None if isinstance(table, StreamedDataset) else (choice, table)

    def take(self, key: str, handed: SharedTable) -> None:
        """Have a table that another process has read."""
        self._made[key] = handed

    def has(self, key: str) -> bool:
        """Whether a table is here."""
        return key in self._made


def _table_key(config: Config) -> str:
    """All that the rows of a config depend on, and where they are."""
    facts = {
        "data": config.data.model_dump(mode="json"),
        "seed": config.seed if config.data.split.seed is None else None,
        # They say what is predicted and how it is scaled, where `data` does not.
        "head": config.model.head,
        "loss": config.loss.name if config.loss.name in UNSCALED_LOSSES else None,
        "engine": config.runtime.engine,
        "device": config.runtime.device,
    }
    return json.dumps(facts, sort_keys=True)


def make_plan(
    loaded: LoadedConfig, tables: TableCache | None = None, own: Decisions | None = None
) -> RunPlan:
    """Read and split the table, fit the preprocessing, lay out the network.

    Args:
        loaded: The config.
        tables: Those that other plans have read.
        own: The decisions that the run has, where it is resumed; the run that they were taken from
            may be gone.

    Raises:
        ConfigError: Settings that do not fit each other or the data, with their places.
        DataError: The data are wrong.
        RunError: The run to start from is not there or is damaged.
    """
    config = loaded.config
    with locate_problems(loaded):
        choice, dataset = (TableCache() if tables is None else tables).dataset(config)
        target = dataset.preprocessing.target
        task = make_task(config, target)
        problems = [
            *task_conflicts(
                config, target.task, task.head, target.classes, dataset.rows("validation") > 0
            ),
            *tracking_problems(config),
            *_undefined_monitors(config, dataset),
            *slice_problems(config, dataset),
        ]
        if problems:
            raise ConfigError(problems)
        if config.fit.warm_start is not None:
            _check_warm_start(Path(config.fit.warm_start))
        source = config.evaluate.decisions_from
        if own is not None and source is not None and own.source == source:
            inherited: Decisions | None = own
        else:
            inherited = read_inherited_decisions(config, target)
        preprocessing = dataset.preprocessing
        layers = summarize_layers(
            config.model,
            preprocessing.width,
            preprocessing.embeddings,
            task.head,
            task.outputs,
        )
    rows = dataset.rows("train")
    steps_per_epoch = -(-rows // min(config.fit.batch_size, rows))
    counts = [layer.parameters for layer in layers if layer.parameters is not None]
    return RunPlan(
        loaded=loaded,
        dataset=dataset,
        engine=choice,
        task=task,
        layers=layers,
        parameters=sum(counts) if len(counts) == len(layers) else None,
        memory=estimate_memory(layers, config.optimizer),
        data_bytes=4 * len(dataset.assignment) * (preprocessing.width + target.width),
        steps_per_epoch=steps_per_epoch,
        total_steps=resolved_steps(config.fit, steps_per_epoch),
        inherited=inherited,
        warnings=(*dataset.warnings, *_warnings(config, dataset)),
        notes=dataset.notes,
    )


def row_groups(plan: RunPlan, rows: RowIndex) -> pl.Series | None:
    """The group of each of some rows, where the split was by group."""
    if plan.config.data.split.by != "group":
        return None
    column = split_column(plan.config.data)
    assert column is not None, "a split by group names its column"
    return plan.dataset.table.frame[column].gather(rows)


@contextmanager
def locate_problems(loaded: LoadedConfig) -> Iterator[None]:
    """Within it, problems that name a config key get the place where the setting stands, and paths
    below the working directory are shown as a user would type them.
    """
    try:
        yield
    except TrainerError as wrong:
        raise type(wrong)(
            with_relative_paths(loaded.locate(problem)) for problem in wrong.problems
        ) from wrong


def with_relative_paths(problem: Problem) -> Problem:
    """The problem with paths below the working directory as a user would type them."""
    here = os.getcwd()  # noqa: PTH109 (a text to cut off, not a path)
    if here == os.sep:
        return problem
    # Not where it is the end or the middle of another path.
    path = re.compile(rf"(?<![^\s'\"(]){re.escape(here)}{os.sep}(?=.)")
    return replace(
        problem,
        where=path.sub("", problem.where),
        expected=path.sub("", problem.expected),
        found=path.sub("", problem.found),
        fix=path.sub("", problem.fix),
    )


def _undefined_monitors(config: Config, dataset: Dataset) -> Iterator[Problem]:
    """Measures that are watched and have no value on these validation rows, in any epoch."""
    watched = tuple(monitored_metrics(config.fit))
    rows = dataset.rows("validation")
    if not rows or not any(measure in {"val_auc", "val_r2"} for _, measure in watched):
        return
    counts = dataset.classes("validation")
    one_sided = [name for name, count in counts.items() if count in {0, rows}]
    for key, measure in watched:
        found = ""
        if measure == "val_r2" and rows < 2:
            found = "1 validation row"
        if measure == "val_auc" and one_sided:
            of_them = "no" if counts[one_sided[0]] == 0 else "only"
            found = f"{of_them} validation rows of '{one_sided[0]}'"
        if found:
            fix = "monitor val_loss, or choose other validation rows with data.split"
            yield Problem("", f"validation rows that {measure} is defined for", found, fix, key)


def _check_warm_start(path: Path) -> None:
    try:
        open_trained(path)
    except TrainerError as wrong:
        raise type(wrong)(
            replace(problem, key=problem.key or "fit.warm_start") for problem in wrong.problems
        ) from wrong


def _warnings(config: Config, dataset: Dataset) -> Iterator[str]:
    if dataset.rows("validation") == 0:
        stopping = config.fit.early_stopping
        if stopping is not None and not stopping.restore_best:
            yield "there are no validation rows: the weights of the last epoch are used"
        else:
            yield "there are no validation rows: the best epoch is chosen by the training rows"
        is_regression = dataset.preprocessing.target.task == "regression"
        if is_regression and config.evaluate.decisions_from is None:
            yield "there are no validation rows: predictions have no intervals"
    if dataset.rows("test") == 0:
        yield "there are no test rows: nothing says how good the network is on new rows"
    if config.fit.batch_size > dataset.rows("train"):
        yield (
            f"fit.batch_size {config.fit.batch_size} is more than the "
            f"{dataset.rows('train')} training rows: each epoch is one step"
        )
