"""From a plan to a network in training. Imports TensorFlow.

Owns: putting the pieces of models and engine together for one run, memory errors in words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import keras
import tensorflow as tf

from trainer.config.layers import CustomLayer
from trainer.config.objectives import better_direction
from trainer.config.resolve import resolved_monitor
from trainer.config.schema import Config
from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput, Program, TrainStep, steps_per_execution
from trainer.engine.callbacks import Callbacks, batch_hooks
from trainer.engine.executors import EpochExecutor, MultiEpochExecutor, SingleEpochExecutor
from trainer.engine.fit import RollbackState, Training
from trainer.engine.monitors import (
    BestEpochState,
    EarlyStoppingState,
    Monitors,
    ReduceLROnPlateauState,
)
from trainer.engine.multi_epoch import MultiEpochProgram, epochs_per_execution
from trainer.engine.runner import EpochRunner, ResidentRunner
from trainer.engine.streaming import StreamingRunner
from trainer.errors import ConfigError, Problem, ResourceError
from trainer.models.custom import build_custom
from trainer.models.losses import build_loss
from trainer.models.network import build_network
from trainer.models.optimizers import build_optimizer
from trainer.models.warm_start import transfer_weights
from trainer.workflows.divergence_advice import divergence_advice
from trainer.workflows.plan import RunPlan
from trainer.workflows.task import Task, apply_class_weights
from trainer.workflows.trained_runs import load_network, open_trained

# Compiling takes a second the first time, and a third of it once the program is kept.
_COMPILE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ExecutionConfig:
    """How epochs are cut into calls of the device. A resumed run keeps it: the last digits depend on it.

    Attributes:
        compiled: An epoch is compiled with XLA.
        steps_in_a_call: At most so many batches of an epoch.
        epochs_in_a_block: At most so many epochs where they are short.
    """

    compiled: bool
    steps_in_a_call: int
    epochs_in_a_block: int


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """A network in training, and how it came about.

    Attributes:
        training: Ready for its first epoch.
        runner: Judges the network when training is done.
        saved: The network as it is saved, of Keras's own layers; its weights are set when it is.
        form: How epochs are cut into calls of the device.
        warm_start: What became of each layer's weights of the former run, in words.
        programs: What is traced and compiled.
        encode_seconds: Spent in turning rows into numbers.
    """

    training: Training
    runner: EpochRunner
    saved: keras.Sequential
    form: ExecutionConfig
    warm_start: tuple[str, ...]
    programs: tuple[Program, ...]
    encode_seconds: float


def build_training(
    plan: RunPlan, *, allow_custom: bool, form: ExecutionConfig | None = None
) -> TrainingSetup:
    """Network, optimizer, runner and decisions of a plan.

    Args:
        plan: What is to be trained.
        allow_custom: Whether functions of the user's own may be imported.
        form: That of the run that is resumed; None chooses one.

    Raises:
        ConfigError: A layer of the user's own is not allowed or fails.
        RunError: The run to start from is not there.
    """
    config, task = plan.config, plan.task
    preprocessing = plan.dataset.preprocessing
    compiled = _worth_compiling(plan) if form is None else form.compiled
    make = partial(
        build_network,
        config,
        preprocessing.width,
        preprocessing.embeddings,
        task.head,
        task.outputs,
        task.prior(),
        allow_custom=allow_custom,
        base=plan.loaded.path.absolute().parent,
    )
    network = make(compiled=compiled)
    # What is resumed has its weights from its checkpoint; the run it once started from may be gone.
    taken = warm_start(config, network, allow_custom=allow_custom) if form is None else ()
    optimizer = build_optimizer(
        config.optimizer, plan.steps_per_epoch, plan.total_steps, config.runtime.precision
    )
    began = perf_counter()
    train = plan.dataset.samples("train")
    assert train is not None, "a plan has training rows"
    validation = plan.dataset.samples("validation")
    encode_seconds = perf_counter() - began
    judged = None if validation is None else task.encode_targets(validation)
    if form is None:
        form = _choose_form(plan, network, train, judged, compiled)
    streaming = plan.engine.engine == "streaming"
    runner = (StreamingRunner if streaming else ResidentRunner)(
        network,
        optimizer,
        build_loss(config.loss, task.loss),
        task.encode_targets(
            apply_class_weights(train, task.class_weights(config.fit.class_weight))
        ),
        seed=config.seed,
        batch_size=config.fit.batch_size,
        shuffle=config.fit.shuffle,
        compiled=compiled,
        steps_per_execution=form.steps_in_a_call,
    )
    one_by_one = SingleEpochExecutor(runner, network, optimizer, judged)
    executor: EpochExecutor = one_by_one
    programs = [runner.program, runner.evaluator.evaluation]
    callbacks = _callbacks(plan, runner.train_step, allow_custom)
    if form.epochs_in_a_block > 1 and isinstance(runner, ResidentRunner):
        epochs = form.epochs_in_a_block
        blocks = MultiEpochProgram(
            runner, network, optimizer, judged, epochs=epochs, compiled=compiled
        )
        executor = MultiEpochExecutor(one_by_one, blocks)
        programs.append(blocks.program)
    training = Training(
        network=network,
        optimizer=optimizer,
        train_step=runner.train_step,
        executor=executor,
        train=task.encode_targets(train),
        validation=judged,
        compute_metrics=make_metric_function(task),
        monitors=make_monitors(config, validation is not None),
        monitor=resolved_monitor(config.fit, validation is not None),
        keep_last=config.fit.early_stopping is not None
        and not config.fit.early_stopping.restore_best,
        callbacks=callbacks,
        rollback=_rewinding(config),
        max_seconds=config.fit.max_seconds or math.inf,
        advice=divergence_advice(config, task),
        total_steps=plan.total_steps,
    )
    return TrainingSetup(training, runner, make(), form, taken, tuple(programs), encode_seconds)


@contextmanager
def resource_errors() -> Iterator[None]:
    """Within it, running out of memory is told as such.

    Raises:
        ResourceError: Memory of the machine or the device gave out.
    """
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as gone:
        found = str(gone).splitlines()[0] if str(gone) else type(gone).__name__
        found = re.sub(r"\{\{.*?\}\}\s*| on /job:.*", "", found)
        raise ResourceError(
            Problem("memory", "enough for data and network", found, "lower fit.batch_size or units")
        ) from gone


def make_metric_function(task: Task) -> Callable[[EpochOutput, Samples], dict[str, float]]:
    """The metrics of a pass over samples."""

    def compute_metrics(done: EpochOutput, samples: Samples) -> dict[str, float]:
        return task.compute_metrics(done.predictions, samples, done.rows)

    return compute_metrics


def make_monitors(config: Config, has_validation: bool) -> Monitors:
    """The decisions of a training that begins."""
    fit = config.fit
    monitor = resolved_monitor(fit, has_validation)
    stopping, reduce_lr = fit.early_stopping, fit.reduce_on_plateau
    return Monitors(
        best=BestEpochState.start(better_direction(monitor)),
        early_stopping=EarlyStoppingState.start(stopping, better_direction(stopping.monitor))
        if stopping
        else None,
        reduce_lr=ReduceLROnPlateauState.start(reduce_lr, better_direction(reduce_lr.monitor))
        if reduce_lr
        else None,
    )


def _rewinding(config: Config) -> RollbackState | None:
    settings = config.fit.on_nonfinite
    return (
        None
        if settings.action == "stop"
        else RollbackState(settings.max_rollbacks, settings.factor)
    )


def _choose_form(
    plan: RunPlan,
    network: keras.Sequential,
    train: Samples,
    judged: Samples | None,
    compiled: bool,
) -> ExecutionConfig:
    fit = plan.config.fit
    batch = min(fit.batch_size, len(train.x))
    blocks = epochs_per_execution(
        train, judged, fit.batch_size, network, plan.total_steps // plan.steps_per_epoch
    )
    # A callback may look at the weights of every epoch, and change them; so does going back.
    one_by_one = fit.callbacks or fit.on_nonfinite.action == "rollback"
    return ExecutionConfig(
        compiled=compiled,
        steps_in_a_call=steps_per_execution(network.count_params(), batch),
        epochs_in_a_block=1 if one_by_one else blocks,
    )


def member_execution(plan: RunPlan) -> ExecutionConfig:
    """The form of a network that was trained in a pack, should it go on alone."""
    assert plan.parameters is not None, "a network of a pack has known sizes"
    batch = min(plan.config.fit.batch_size, plan.dataset.rows("train"))
    return ExecutionConfig(
        compiled=True,
        steps_in_a_call=steps_per_execution(plan.parameters, batch),
        epochs_in_a_block=1,
    )


def _worth_compiling(plan: RunPlan) -> bool:
    """Whether XLA saves more than compiling costs.

    Measured on one core: a step saves 70 µs of overhead and 1 µs per 1,000 parameters in the
    optimizer, and loses 1 µs per 230,000 multiplications in large products. A layer of the user's own
    may not be able to.
    """
    if plan.config.runtime.jit_compile != "auto":
        return plan.config.runtime.jit_compile
    custom = any(isinstance(layer, CustomLayer) for layer in plan.config.model.layers)
    if custom or plan.parameters is None:
        return False
    batch = min(plan.config.fit.batch_size, plan.dataset.rows("train"))
    saved = 70e-6 + 1e-9 * plan.parameters - plan.parameters * batch / 230e9
    return saved * plan.total_steps > _COMPILE_SECONDS


def _callbacks(plan: RunPlan, train_step: TrainStep, allow_custom: bool) -> Callbacks | None:
    made = []
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
                    "a callback that asks for epochs: a whole epoch is one program, without a stop "
                    "between batches",
                    f"{entry.custom.function}, which has {' and '.join(hooks)}",
                    "do its work in on_epoch_end",
                    key,
                )
            )
        made.append(callback)
    if problems:
        raise ConfigError(problems)
    return Callbacks(made, train_step) if made else None


def warm_start(config: Config, network: keras.Sequential, *, allow_custom: bool) -> tuple[str, ...]:
    """Give a network the weights of the run that the config names; what became of each layer's."""
    if config.fit.warm_start is None:
        return ()
    source = load_network(open_trained(Path(config.fit.warm_start)), allow_custom=allow_custom)
    return tuple(str(layer) for layer in transfer_weights(network, source))
