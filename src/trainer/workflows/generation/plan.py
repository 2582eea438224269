"""Everything about a run of task: generate that is known before TensorFlow is imported."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.data import explicit_task
from trainer.config.generation import NETWORK_NAMES, Networks
from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.config.resolve import resolved_steps
from trainer.config.schema import Config
from trainer.data.checking import missing_sources
from trainer.data.generation import GenerationData, prepare_generation
from trainer.engine.selection import EngineChoice, device_memory
from trainer.errors import ConfigError, DataError, Problem
from trainer.models.generation_summary import GenerationShape, summarize_networks
from trainer.models.memory import MemoryEstimate, estimate_memory
from trainer.models.summary import LayerSummary
from trainer.runs.decisions import Decisions
from trainer.runs.manifest import InitialWeights
from trainer.task_names import TaskName
from trainer.tracking.trackers import tracking_problems

_CHECKED_BYTES = 1 << 29
_SEVERAL_PASSES = 3
"""A row passes through the discriminator about this often, real and generated."""


@dataclass(frozen=True, slots=True)
class GenerationPlan:
    """A run of task: generate before training; the attributes are those of `RunPlan`.

    Attributes:
        loaded: The config and the locations of its settings.
        dataset: Rows, splits and the fitted encoding.
        engine: Where the rows are kept during training, and why.
        shape: What the networks depend on besides their layers.
        networks: The layers of each network by name.
        memory: Bytes of weights, gradients, optimizer state and activations of both networks.
        data_bytes: Bytes of the encoded rows.
        steps_per_epoch: Updates of the generator per epoch.
        total_steps: Updates of the generator of the whole training run.
        warnings: Warnings for the user.
        notes: Assumptions about the data, each with the setting that changes it.
    """

    loaded: LoadedConfig
    dataset: GenerationData
    engine: EngineChoice
    shape: GenerationShape
    networks: dict[str, tuple[LayerSummary, ...]]
    memory: MemoryEstimate
    data_bytes: int
    steps_per_epoch: int
    total_steps: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def task_name(self) -> TaskName:
        """The name of the task."""
        return explicit_task(self.config.data)

    @property
    def initial_weights(self) -> tuple[InitialWeights, ...]:
        """Weights that the networks start from: none."""
        return ()

    @property
    def inherited(self) -> Decisions | None:
        """Decisions of another run: none."""
        return None

    @property
    def start_notes(self) -> tuple[str, ...]:
        """What the run takes from other runs: nothing."""
        return ()

    @property
    def settings(self) -> Networks:
        """The `networks` section."""
        assert self.config.networks is not None, "task: generate has networks"
        return self.config.networks

    @property
    def parameters(self) -> int:
        """The number of parameters of both networks."""
        return sum(layer.parameters or 0 for layers in self.networks.values() for layer in layers)

    @property
    def multiplications(self) -> int:
        """Approximate number of multiplications per row in training."""
        counts = {
            name: sum(layer.multiplications or 0 for layer in layers)
            for name, layers in self.networks.items()
        }
        return counts["generator"] + _SEVERAL_PASSES * counts["discriminator"]

    @property
    def convolutional(self) -> bool:
        """Whether a layer convolves its input."""
        layers = [*self.settings.generator.layers, *self.settings.discriminator.layers]
        return any(layer.settings.convolutional for layer in layers)

    @property
    def rows_per_step(self) -> int:
        """Training rows for each update of the generator."""
        return self.config.fit.batch_size * self.config.generation.discriminator_steps


def make_generation_plan(loaded: LoadedConfig) -> GenerationPlan:
    """Read and split the rows, fit their encoding, and plan the layers.

    Raises:
        ConfigError: Settings contradict each other or the data; each problem has its location.
        DataError: The data are invalid.
    """
    config = loaded.config
    assert config.networks is not None, "task: generate has networks"
    with locate_problems(loaded):
        missing = missing_sources(config.data)
        if missing:
            raise DataError(missing)
        dataset = prepare_generation(config)
        rows = dataset.preprocessing
        shape = GenerationShape(config.generation.latent, rows.conditions, rows.spec)
        problems = [*tracking_problems(config), *_batch_problems(config, dataset)]
        try:
            layers = summarize_networks(config.networks, shape)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from error
        if problems:
            raise ConfigError(problems)
        memory = _memory(config, layers)
        _check_memory(config, memory)
    rows_per_step = config.fit.batch_size * config.generation.discriminator_steps
    steps = dataset.rows("train") // rows_per_step
    return GenerationPlan(
        loaded=loaded,
        dataset=dataset,
        engine=EngineChoice("resident", "task: generate keeps its rows in memory"),
        shape=shape,
        networks=layers,
        memory=memory,
        data_bytes=len(dataset.assignment) * rows.spec.row_bytes,
        steps_per_epoch=steps,
        total_steps=resolved_steps(config.fit, steps),
        warnings=dataset.warnings,
        notes=dataset.notes,
    )


def _batch_problems(config: Config, dataset: GenerationData) -> list[Problem]:
    rows, steps = dataset.rows("train"), config.generation.discriminator_steps
    needed = config.fit.batch_size * steps
    if needed <= rows:
        return []
    each = f", {steps} batches for each update of the generator" if steps > 1 else ""
    expected = f"at most {rows:,} training rows in a step{each}"
    fix = f"set fit.batch_size to {max(rows // steps, 1)} or less"
    return [Problem("", expected, f"{needed:,}", fix, "fit.batch_size")]


def _memory(config: Config, layers: dict[str, tuple[LayerSummary, ...]]) -> MemoryEstimate:
    """Return the sum of the memory of both networks."""
    assert config.networks is not None
    estimates = []
    for name in NETWORK_NAMES:
        optimizer = getattr(config.networks, name).optimizer
        estimate = estimate_memory(layers[name], optimizer, config.fit.batch_size)
        assert estimate is not None, "task: generate has no custom layers"
        estimates.append(estimate)
    first, second = estimates
    return MemoryEstimate(
        first.weights + second.weights,
        first.gradients + second.gradients,
        first.optimizer + second.optimizer,
        first.activations + _SEVERAL_PASSES * second.activations,
    )


def _check_memory(config: Config, memory: MemoryEstimate) -> None:
    """Check that the networks fit the memory of their device.

    Raises:
        ConfigError: They do not.
    """
    if memory.total < _CHECKED_BYTES:
        return
    available, device = device_memory(config)
    if available is None or memory.total <= available:
        return
    is_batch = memory.activations > memory.total - memory.batch
    key = "fit.batch_size" if is_batch else "networks"
    fix = "lower fit.batch_size" if is_batch else "use fewer units or smaller images"
    expected = f"networks that train within the {available / 1e9:.1f} GB of {device}"
    raise ConfigError(Problem("", expected, f"{memory.total / 1e9:.1f} GB", fix, key))
