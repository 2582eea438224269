"""Everything about a run that is known before TensorFlow is imported: the output of `trainer check` and
the starting point of `fit`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from trainer.config.generation import generates
from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.config.resolve import resolved_steps
from trainer.config.schema import Config
from trainer.data.arrays import RowIndex
from trainer.data.checking import missing_sources
from trainer.data.dataset import Dataset
from trainer.data.features import split_column
from trainer.data.prepare import prepare
from trainer.data.samples import Samples
from trainer.data.splits import SplitName
from trainer.engine.selection import EngineChoice, choose_engine, device_memory
from trainer.engine.token_batches import TokenBatches, rows_and_steps, training_batches
from trainer.errors import ConfigError, DataError, Problem
from trainer.inputs import IMAGE
from trainer.models.memory import (
    MemoryEstimate,
    augmentation_values,
    estimate_memory,
    memory_problem,
)
from trainer.models.pretrained.description import BASE
from trainer.models.summary import LayerSummary, NetworkShape, summarize_layers
from trainer.prediction.inherited_decisions import inherited_decisions, inherited_notes
from trainer.prediction.warm_start import WarmStart, plan_warm_start
from trainer.runs.decisions import Decisions
from trainer.runs.machine import total_memory
from trainer.runs.manifest import PRETRAINED, InitialWeights
from trainer.task_names import TaskName
from trainer.tasks.task import Task, make_task
from trainer.workflows.plan_checks import check_plan, plan_warnings
from trainer.workflows.pretrained_base import (
    describe_configured_encoder,
    ignored_note,
    with_pretrained,
)

# Smaller networks fit any machine; looking for a GPU takes a moment.
_CHECKED_BYTES = 1 << 29


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run before training.

    Attributes:
        loaded: The config and the locations of its settings.
        dataset: Rows, splits and fitted preprocessing.
        engine: Where the rows are kept during training, and why.
        task: Head, loss and metrics.
        network: The inputs of the network, its pretrained base and its output layer.
        layers: Each layer with its output shape and number of parameters.
        parameters: The number of parameters of the network that is trained, without a frozen base;
            None if a custom layer hides it.
        memory: Bytes of weights, gradients, optimizer state and activations; None in the same case.
        data_bytes: Bytes of the encoded rows.
        steps_per_epoch: Batches per epoch.
        total_steps: Batches of the whole training run.
        inherited: Decisions of another run that replace those made on validation rows.
        warm_start: The weights of another run that the network starts with; None for a run that has
            started.
        warnings: Warnings for the user.
        notes: Assumptions about the data, each with the setting that changes it.
        token_batches: The batches of `fit.batch_tokens`; None for `fit.batch_size`.
    """

    loaded: LoadedConfig
    dataset: Dataset
    engine: EngineChoice
    task: Task
    network: NetworkShape
    layers: tuple[LayerSummary, ...]
    parameters: int | None
    memory: MemoryEstimate | None
    data_bytes: int
    steps_per_epoch: int
    total_steps: int
    inherited: Decisions | None
    warm_start: WarmStart | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    token_batches: TokenBatches | None = None

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def task_name(self) -> TaskName:
        """The name of the task."""
        return self.task.name

    @property
    def initial_weights(self) -> tuple[InitialWeights, ...]:
        """The weights of pretrained networks and other runs that the network starts from."""
        base, start = self.network.base, self.warm_start
        return (
            *(() if base is None else (InitialWeights(PRETRAINED, str(base.file), base.sha256),)),
            *(() if start is None else (start.record,)),
        )

    @property
    def start_notes(self) -> tuple[str, ...]:
        """What the run takes from other runs: weights and decisions."""
        layers = () if self.warm_start is None else self.warm_start.layers
        return (*(f"warm start: {layer}" for layer in layers), *inherited_notes(self.inherited))

    @property
    def rows_per_step(self) -> int:
        """Training rows for each update."""
        return self.config.fit.batch_size

    @property
    def multiplications(self) -> int | None:
        """Approximate number of multiplications per row in training; None if a custom layer hides it."""
        return _total([layer.multiplications for layer in self.trained_layers])

    @property
    def trained_layers(self) -> tuple[LayerSummary, ...]:
        """The layers that are trained: those after a frozen base."""
        if self.network.trained is self.network:
            return self.layers
        return tuple(layer for layer in self.layers if layer.kind != BASE)

    @property
    def convolutional(self) -> bool:
        """Whether a layer convolves its input."""
        base = self.network.trained.base
        if base is not None and base.input == IMAGE:
            return True
        return any(layer.settings.convolutional for layer in self.config.model.layers)

    @property
    def random_crop(self) -> tuple[int, int] | None:
        """Height and width that are cut out of training images at random places, or None."""
        image = self.dataset.preprocessing.image
        return None if image is None else image.random_size

    @property
    def has_changed_images(self) -> bool:
        """Whether training images are changed at random."""
        return bool(self.config.model.augment) or self.random_crop is not None

    def samples(self, split: SplitName) -> Samples | None:
        """Return the encoded rows of a split, with the output of a frozen base instead of images."""
        samples = self.dataset.samples(split)
        if samples is None or self.network.trained is self.network:
            return samples
        from trainer.engine.base_features import with_base_features

        return with_base_features(self.dataset, split, self.network)

    def encoded_samples(self, split: SplitName) -> Samples | None:
        """Return the encoded rows of a split, with targets encoded for the head; None without rows."""
        samples = self.samples(split)
        return None if samples is None else self.task.encode_targets(samples)


SharedTable = tuple[EngineChoice, Dataset]


class TableCache:
    """A cache of tables: configs with identical data settings are read, split and fitted once."""

    def __init__(self) -> None:
        self._made: dict[str, SharedTable] = {}

    def dataset(self, config: Config) -> tuple[EngineChoice, Dataset]:
        """Return the engine and the prepared table of a config."""
        key = _table_key(config)
        if key not in self._made:
            missing = missing_sources(config.data)
            if missing:
                raise DataError(missing)
            engine = choose_engine(config)
            self._made[key] = (engine, prepare(config, streamed=engine.engine == "streaming"))
        for other, (_, dataset) in self._made.items():
            # Encoded rows take as much memory as the table, and earlier tables are rarely used again.
            if other != key:
                dataset.release_samples()
        return self._made[key]

    def share(self, config: Config) -> tuple[str, SharedTable | None]:
        """Return the cache key and the table of a config, to be sent to another process.

        The table is None if it does not fit in memory: then each process reads it itself.
        """
        key = _table_key(config)
        engine, table = self.dataset(config)
        return key, (engine, table) if table.source.in_memory else None

    def add(self, key: str, table: SharedTable) -> None:
        """Add a table that another process has read."""
        self._made[key] = table

    def has(self, key: str) -> bool:
        """Return whether the cache has a table."""
        return key in self._made


def _table_key(config: Config) -> str:
    """Return everything that the rows of a config and their location depend on."""
    dependencies = {
        "data": config.data.model_dump(mode="json"),
        "seed": config.seed if config.data.split.seed is None else None,
        # Head and loss determine the task and the scale of the target if `data` leaves them open.
        "head": config.model.head,
        "loss": config.loss.name if config.loss.kind.needs_unscaled_target else None,
        "engine": config.runtime.engine,
        "device": config.runtime.device,
    }
    return json.dumps(dependencies, sort_keys=True)


def make_plan(
    loaded: LoadedConfig,
    tables: TableCache | None = None,
    recorded_decisions: Decisions | None = None,
    *,
    started: bool = False,
) -> RunPlan:
    """Read and split the table, fit the preprocessing, and plan the layers.

    Args:
        loaded: The config.
        tables: A cache of tables.
        recorded_decisions: The decisions of a resumed run, whose source may be gone.
        started: Whether the weights come from a checkpoint: the run of `fit.warm_start` may be gone.

    Raises:
        ConfigError: Settings contradict each other or the data; each problem has its location.
        DataError: The data are invalid.
        RunError: The run to start from does not exist or is damaged.
    """
    config = loaded.config
    with locate_problems(loaded):
        if generates(config.data):
            raise ConfigError(_generation_problem(config.data.task))
        encoder = describe_configured_encoder(config)
        engine, dataset = (TableCache() if tables is None else tables).dataset(config)
        preprocessing = dataset.preprocessing
        task = make_task(config, preprocessing.target)
        task.check_packages()
        check_plan(config, dataset, task)
        inherited = inherited_decisions(config, preprocessing.target, recorded_decisions)
        network = task.network_shape(preprocessing)
        network = with_pretrained(config, network, preprocessing.tokens, encoder)
        layers = summarize_layers(config.model, network)
        batches = training_batches(config.fit, dataset, network.translation)
        batch, steps_per_epoch = rows_and_steps(config.fit, dataset.rows("train"), batches)
        trained = summarize_layers(config.model, network.trained)
        memory, memory_warnings = _estimate_memory(config, network, trained, batch)
        warm_start = None if started else plan_warm_start(config, trained, preprocessing)
    warnings = [*dataset.warnings, *plan_warnings(config, dataset), *memory_warnings]
    if warm_start is not None:
        warnings += warm_start.warnings
    return RunPlan(
        loaded=loaded,
        dataset=dataset,
        engine=engine,
        task=task,
        network=network,
        layers=layers,
        parameters=_total([layer.parameters for layer in trained]),
        memory=memory,
        data_bytes=len(dataset.assignment) * preprocessing.row_bytes,
        steps_per_epoch=steps_per_epoch,
        total_steps=resolved_steps(config.fit, steps_per_epoch),
        inherited=inherited,
        warm_start=warm_start,
        warnings=tuple(warnings),
        notes=(*dataset.notes, *ignored_note(encoder)),
        token_batches=batches,
    )


def _generation_problem(task: str) -> Problem:
    return Problem(
        "",
        "a task with a target to predict",
        f"task: {task}",
        "use trainer fit, resume, check, sweep, eval, predict, export, serve or report",
        "data.task",
    )


def _total(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(count or 0 for count in counts)


def _estimate_memory(
    config: Config, network: NetworkShape, layers: Sequence[LayerSummary], batch: int
) -> tuple[MemoryEstimate | None, tuple[str, ...]]:
    """Return the memory that training takes, if it is known, and a warning if only copies do not fit.

    Raises:
        ConfigError: The network does not fit the memory of its device.
    """
    changed = augmentation_values(config.model, network.image)
    memory = estimate_memory(layers, config.optimizer, batch, changed, config.compress)
    if memory is None or memory.total + memory.copies < _CHECKED_BYTES:
        return memory, ()
    available, device = device_memory(config)
    if available is not None:
        problem = memory_problem(
            config.model, config.optimizer, layers, memory, batch, available, device
        )
        if problem is not None:
            raise ConfigError(problem)
    needed, total = memory.total + memory.copies, total_memory()
    if total is None or needed <= total:
        return memory, ()
    warning = (
        f"training takes about {needed / 1e9:.1f} GB with copies for updates and checkpoints, and this "
        f"machine has {total / 1e9:.1f} GB: it may be killed"
    )
    return memory, (warning,)


def row_groups(plan: RunPlan, rows: RowIndex) -> pl.Series | None:
    """Return the groups of rows if the split is by group."""
    if plan.config.data.split.by != "group":
        return None
    column = split_column(plan.config.data)
    assert column is not None, "a split by group names its column"
    return plan.dataset.table.frame[column].gather(rows)
