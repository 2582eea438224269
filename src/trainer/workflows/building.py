"""Build the network, optimizer and training state of a plan, or of a pack. Imports TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import keras

from trainer.config.resolve import resolved_monitor
from trainer.config.schema import Config
from trainer.data.samples import Samples
from trainer.data.splits import SplitName
from trainer.engine.batches import EpochOutput, Evaluator, steps_per_execution
from trainer.engine.callbacks import Callbacks, batch_hooks
from trainer.engine.devices import Device
from trainer.engine.divergence_advice import divergence_advice
from trainer.engine.evaluators import make_evaluator
from trainer.engine.executors import LearnerExecutor, MultiEpochExecutor
from trainer.engine.frozen_base import FrozenBaseExecutor, build_head_executor
from trainer.engine.lengths import Lengths
from trainer.engine.monitors import Monitors
from trainer.engine.multi_epoch import epochs_per_execution
from trainer.engine.pack_checkpoint import restore_pack
from trainer.engine.pack_executor import PackExecutor
from trainer.engine.packs import Pack, PackMember
from trainer.engine.rows import Batching, ResidentRows, TokenBatchRows, TrainingRows
from trainer.engine.snapshot import Snapshot
from trainer.engine.streaming import StreamedRows
from trainer.engine.supervised import SupervisedLearner
from trainer.engine.training import Rollback, Training
from trainer.engine.training_group import TrainingGroup
from trainer.engine.translation import TranslationLearner
from trainer.errors import ConfigError, Problem
from trainer.models.augment import build_augmentation
from trainer.models.compression_schedule import complete_epoch
from trainer.models.custom import build_custom
from trainer.models.network import Variant
from trainer.models.optimizers import build_optimizer
from trainer.models.stacking import StackMember
from trainer.runs.directory import RunDirectory
from trainer.workflows.compilation import should_compile
from trainer.workflows.networks import (
    make_learner,
    network_function,
    saved_network,
)
from trainer.workflows.plan import RunPlan
from trainer.workflows.shared_programs import SharedPrograms, program_key


@dataclass(frozen=True, slots=True)
class ExecutionConfig:
    """How epochs are divided into device calls.

    A resumed run keeps it, because the last digits of the weights depend on it.

    Attributes:
        compiled: Whether epochs are compiled with XLA.
        steps_per_execution: Maximum number of batches per call.
        epochs_per_execution: Maximum number of short epochs per call.
    """

    compiled: bool
    steps_per_execution: int
    epochs_per_execution: int

    def state(self) -> dict[str, bool | int]:
        """Return the JSON of a checkpoint."""
        return {
            "compiled": self.compiled,
            "steps_in_a_call": self.steps_per_execution,
            "epochs_in_a_block": self.epochs_per_execution,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ExecutionConfig:
        """Restore it from the JSON of a checkpoint."""
        return cls(state["compiled"], state["steps_in_a_call"], state["epochs_in_a_block"])


def resolved_run_config(config: Config, device: Device, execution: ExecutionConfig) -> Config:
    """Return the config with the values chosen for `auto`, so that it repeats the run anywhere."""
    chosen = {"threads": device.threads, "jit_compile": execution.compiled}
    runtime = config.runtime.model_copy(update=chosen)
    return config.model_copy(update={"runtime": runtime})


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """A network that is ready for training.

    Attributes:
        network: The network.
        training: Its training, before the first epoch.
        group: A training group with this run only.
        executor: Evaluates the network after training.
        saved: The network as it is saved, of Keras's own layers and without adapters.
        execution: How epochs are divided into device calls.
        encode_seconds: Time spent on encoding rows.
        text_evaluators: For a network that translates, its evaluators: True → of its texts, False → of
            the probabilities of the targets only.
    """

    network: keras.Model
    training: Training
    group: TrainingGroup
    executor: LearnerExecutor
    saved: keras.Model
    execution: ExecutionConfig
    encode_seconds: float
    text_evaluators: Mapping[bool, Evaluator] = field(default_factory=dict)

    def evaluator(self, split: SplitName) -> Evaluator:
        """Return the evaluator for a split: training rows, which can be many, are not translated."""
        return self.text_evaluators.get(split != "train", self.executor.evaluator)

    @property
    def trained_weights(self) -> list[Any]:
        """The variables of `Training.best_weights`."""
        weights: list[Any] = self.network.weights
        return weights

    def use_best_weights(self) -> None:
        """Set the weights to those of the best epoch."""
        self.network.set_weights(self.training.best_weights)

    def after_epoch(self, run: RunDirectory, epoch: int) -> None:
        """Write what a run keeps of each epoch besides its metrics: nothing."""


def build_training(
    plan: RunPlan,
    *,
    allow_custom: bool,
    execution: ExecutionConfig | None = None,
    programs: SharedPrograms | None = None,
) -> TrainingSetup:
    """Build the network, optimizer, executor and training state of a plan.

    Args:
        plan: The plan of the run.
        allow_custom: Whether custom functions may be imported.
        execution: Execution config of the resumed run; chosen automatically if None.
        programs: Those of the network that was trained before.

    Raises:
        ConfigError: A custom layer is not allowed or fails.
        RunError: The run to start from does not exist.
    """
    config = plan.config
    compiled = should_compile(plan) if execution is None else execution.compiled
    make_network = network_function(plan, allow_custom=allow_custom)
    # The weights of a resumed run come from its checkpoint.
    variant = Variant(compiled=compiled, base_weights=execution is None, adapters=True)
    network = make_network(variant=variant)
    if plan.warm_start is not None:
        source = plan.warm_start.load_source(allow_custom=allow_custom)
        plan.warm_start.copy_weights(network, source)
    optimizer = build_optimizer(
        config.optimizer, plan.steps_per_epoch, plan.total_steps, config.runtime.precision
    )
    started = perf_counter()
    train, validation = _encoded_rows(plan)
    encode_seconds = perf_counter() - started
    if execution is None:
        execution = _choose_execution(plan, network, train, validation, compiled)
    learner = make_learner(plan, network, optimizer)
    key = program_key(plan, execution)
    traced = None if programs is None else programs.take(key)
    if traced is not None:
        assert isinstance(traced.learner, SupervisedLearner), "translations share no programs"
        traced.learner.restore(learner.state())
        learner, network = traced.learner, traced.learner.network
    lengths = learner.kept_tokens(train.inputs, config.fit.batch_size)
    weighted = plan.task.apply_class_weights(train, config.fit.class_weight)
    executor = _executor(plan, learner, weighted, validation, execution, lengths)
    if traced is not None:
        executor.use_programs(traced)
    if programs is not None and type(executor) is LearnerExecutor:
        programs.keep(key, executor.traced)
    training = _training(plan, train, validation)
    if isinstance(learner, SupervisedLearner):
        training.callbacks = _callbacks(plan, learner.keras_model, allow_custom)
    training.rollback = Rollback.from_settings(config.fit.on_nonfinite, learner)
    group = TrainingGroup([training], executor, config.fit.max_seconds or math.inf)
    saved = saved_network(plan, network, allow_custom=allow_custom)
    evaluators = {}
    if plan.network.translation is not None:
        make = partial(make_evaluator, config, plan.task, plan.network, network)
        evaluators = {decodes: make(decodes=decodes) for decodes in (False, True)}
    return TrainingSetup(
        network, training, group, executor, saved, execution, encode_seconds, evaluators
    )


@dataclass(frozen=True, slots=True)
class PackSetup:
    """Networks of the same shape that are ready to be trained by one program.

    Attributes:
        networks: The network of each member as it is saved, after it is given its weights.
        group: Their training.
        executor: Runs their epochs, and evaluates them after training.
    """

    networks: tuple[keras.Model, ...]
    group: TrainingGroup
    executor: PackExecutor


def build_pack(plans: Sequence[RunPlan], checkpoint: Snapshot | None) -> PackSetup:
    """Build the networks, their common program and their training state.

    Args:
        plans: The plan of each member.
        checkpoint: The state of a pack that is resumed; None at the start.

    Raises:
        RunError: The checkpoint does not belong to these networks.
    """
    members, trainings = [], []
    sources: dict[str, keras.Model] = {}
    for plan in plans:
        network = network_function(plan, allow_custom=False)()
        if (start := plan.warm_start) is not None:
            if start.sha256 not in sources:
                sources[start.sha256] = start.load_source(allow_custom=False)
            start.copy_weights(network, sources[start.sha256])
        train, validation = _encoded_rows(plan)
        weighted = plan.task.apply_class_weights(train, plan.config.fit.class_weight)
        stack = StackMember(plan.config, network)
        members.append(PackMember(stack, plan.task.loss, weighted, validation))
        trainings.append(_training(plan, train, validation))
    first = plans[0]
    batch = min(first.config.fit.batch_size, first.dataset.rows("train"))

    def make(numbers: Sequence[int]) -> Pack:
        return Pack(
            [members[number] for number in numbers],
            total_steps=first.total_steps,
            steps_per_execution=steps_per_execution((first.parameters or 0) * len(numbers), batch),
        )

    slots = range(len(plans)) if checkpoint is None else checkpoint.metadata["slots"]
    executor = PackExecutor(make, slots)
    group = TrainingGroup(trainings, executor)
    if checkpoint is not None:
        restore_pack(group, checkpoint)
    if first.network.trained is first.network:
        networks = [member.stack.network for member in members]
    else:
        network = members[0].stack.network
        networks = [saved_network(first, network, allow_custom=False)] * len(plans)
    return PackSetup(tuple(networks), group, executor)


def _encoded_rows(plan: RunPlan) -> tuple[Samples, Samples | None]:
    """Return the training and validation rows of a plan."""
    train = plan.encoded_samples("train")
    assert train is not None, "a plan has training rows"
    return train, plan.encoded_samples("validation")


def _executor(
    plan: RunPlan,
    learner: SupervisedLearner | TranslationLearner,
    train: Samples,
    validation: Samples | None,
    execution: ExecutionConfig,
    lengths: Lengths | None,
) -> LearnerExecutor:
    def make_rows(samples: Samples, steps: int, lengths: Lengths | None = None) -> TrainingRows:
        batching = Batching(
            seed=plan.config.seed, batch_size=plan.config.fit.batch_size,
            shuffle=plan.config.fit.shuffle, steps_per_execution=steps, lengths=lengths,
        )  # fmt: skip
        if plan.token_batches is not None:
            return TokenBatchRows(samples, batching, plan.token_batches)
        is_streamed = plan.engine.engine == "streaming"
        return StreamedRows(samples, batching) if is_streamed else ResidentRows(samples, batching)

    compiled, epochs = execution.compiled, execution.epochs_per_execution
    if (augment := build_augmentation(plan.config, plan.random_crop)) is not None:
        train = train.with_whole_images()
    rows = make_rows(train, execution.steps_per_execution, lengths)
    base = learner.base if isinstance(learner, SupervisedLearner) else None
    if base is not None and base.cached_epochs:
        assert isinstance(learner, SupervisedLearner), "it has a base"
        make_head = partial(
            build_head_executor, learner, plan.config, plan.network, train, validation, make_rows
        )
        epochs = base.cached_epochs
        return FrozenBaseExecutor(
            learner, rows, validation, make_head, compiled=compiled, epochs=epochs
        )
    if not isinstance(rows, ResidentRows) or epochs == 1 or lengths is not None:
        return LearnerExecutor(learner, rows, validation, compiled=compiled, augment=augment)
    return MultiEpochExecutor(learner, rows, validation, compiled=compiled, epochs=epochs)


def _training(plan: RunPlan, train: Samples, validation: Samples | None) -> Training:
    """Return the training of a plan before the first epoch, from its encoded rows."""
    fit, task = plan.config.fit, plan.task

    def compute_metrics(output: EpochOutput, samples: Samples) -> dict[str, float]:
        if not task.metrics:
            return {}
        return task.compute_metrics(output.predictions, samples, output.rows)

    return Training(
        train=train,
        validation=validation,
        compute_metrics=compute_metrics,
        monitors=Monitors.start(fit, has_validation=validation is not None),
        monitor=resolved_monitor(fit, validation is not None),
        total_steps=plan.total_steps,
        keep_last=fit.early_stopping is not None and not fit.early_stopping.restore_best,
        complete_epoch=complete_epoch(plan.config.compress, plan.total_steps, plan.steps_per_epoch),
        advice=divergence_advice(plan.config, task),
    )


def _choose_execution(
    plan: RunPlan,
    network: keras.Model,
    train: Samples,
    validation: Samples | None,
    compiled: bool,
) -> ExecutionConfig:
    fit = plan.config.fit
    batch = min(fit.batch_size, len(train))
    epochs = epochs_per_execution(
        train,
        validation,
        fit.batch_size,
        network.count_params(),
        plan.total_steps // plan.steps_per_epoch,
    )
    # A callback may read and change the weights after every epoch, and so may a rollback. The epochs of
    # convolutions and of changed images are long.
    single_epochs = (
        fit.callbacks
        or fit.on_nonfinite.action == "rollback"
        or plan.convolutional
        or plan.has_changed_images
        or plan.network.translation is not None
    )
    return ExecutionConfig(
        compiled=compiled,
        steps_per_execution=steps_per_execution(
            plan.multiplications or network.count_params(), batch
        ),
        epochs_per_execution=1 if single_epochs else epochs,
    )


def member_execution(plan: RunPlan) -> ExecutionConfig:
    """Return the config for a network that was trained in a pack and is resumed separately."""
    assert plan.parameters is not None, "a network of a pack has known sizes"
    batch = min(plan.config.fit.batch_size, plan.dataset.rows("train"))
    return ExecutionConfig(
        compiled=True,
        steps_per_execution=steps_per_execution(plan.parameters, batch),
        epochs_per_execution=1,
    )


def _callbacks(plan: RunPlan, model: keras.Model, allow_custom: bool) -> Callbacks | None:
    callbacks = []
    problems = []
    for number, entry in enumerate(plan.config.fit.callbacks):
        key = f"fit.callbacks.{number}.custom"
        callback = build_custom(
            entry.custom,
            keras.callbacks.Callback,
            allow_custom=allow_custom,
            base=plan.loaded.path.absolute().parent,
            key=f"{key}.function",
        )
        hooks = batch_hooks(callback)
        if hooks:
            problems.append(
                Problem(
                    "",
                    "a callback with epoch-level hooks only: an epoch runs as one program, so Python is "
                    "not called between batches",
                    f"{entry.custom.function}, which has {' and '.join(hooks)}",
                    "move the code to on_epoch_end",
                    key,
                )
            )
        callbacks.append(callback)
    if problems:
        raise ConfigError(problems)
    return Callbacks(callbacks, model) if callbacks else None
