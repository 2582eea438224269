"""Build the networks, optimizers and training state of a plan of task: generate. Imports TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from trainer.config.generation import resolved_penalty
from trainer.config.resolve import resolved_monitor
from trainer.config.sections import duration_steps
from trainer.data.generated_samples import (
    draw_grid,
    grid_columns,
    grid_png,
    sample_table,
    sampled_images,
)
from trainer.data.samples import Samples
from trainer.engine.adversarial import TRAINED_OUTPUTS, AdversarialLearner, AdversarialSettings
from trainer.engine.batches import EpochOutput, steps_per_execution
from trainer.engine.divergence import DivergenceAdvice
from trainer.engine.executors import LearnerExecutor
from trainer.engine.monitors import Monitors
from trainer.engine.rows import Batching, WholeBatchRows
from trainer.engine.training import MetricFunction, Rollback, Training
from trainer.engine.training_group import TrainingGroup
from trainer.models.adversarial_networks import build_discriminator, build_generator
from trainer.models.generation_summary import DISCRIMINATOR, GENERATOR
from trainer.models.optimizers import build_optimizer
from trainer.models.seeds import derived_seed
from trainer.runs.directory import RunDirectory
from trainer.runs.samples import write_sample
from trainer.workflows.building import ExecutionConfig, TrainingSetup
from trainer.workflows.compilation import should_compile
from trainer.workflows.generation.measures import SampleMeasures
from trainer.workflows.generation.plan import GenerationPlan

_ADVICE = DivergenceAdvice(
    "set other initializers or smaller networks: they overflow before they are trained",
    "lower the learning rates of networks, set clip_norm: 1.0 in their optimizers, or use "
    "generation.loss: hinge",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSetup(TrainingSetup):
    """Two networks that are ready for training; `network` is the generator.

    Attributes:
        plan: Their plan.
        learner: Both networks and their optimizers.
        measures: Compares samples of the current weights with rows.
    """

    plan: GenerationPlan
    learner: AdversarialLearner
    measures: SampleMeasures

    @property
    def trained_weights(self) -> list[Any]:
        return self.learner.weights

    def use_best_weights(self) -> None:
        for weight, value in zip(self.learner.weights, self.training.best_weights, strict=True):
            weight.assign(value)

    def after_epoch(self, run: RunDirectory, epoch: int) -> None:
        """Write the samples of the fixed latent numbers after an epoch."""
        with self.learner.averaged():
            content, suffix = sample_sheet(self.plan, self.measures)
        write_sample(run, f"{epoch:04d}{suffix}", content)


def sample_sheet(plan: GenerationPlan, measures: SampleMeasures) -> tuple[bytes, str]:
    """Return the file with the samples of the fixed latent numbers, and its extension."""
    config, rows = plan.config, plan.dataset.preprocessing
    seed = derived_seed(config.seed, GENERATOR, "grid")
    draw = draw_grid(rows, config.generation.latent, seed)
    values = measures.generate(draw.inputs)
    if rows.images is not None:
        return grid_png(sampled_images(rows, values), grid_columns(rows)), ".png"
    return sample_table(rows, values, draw).write_csv().encode("utf-8"), ".csv"


def build_generation(
    plan: GenerationPlan, *, execution: ExecutionConfig | None = None
) -> GenerationSetup:
    """Build the networks, optimizers, executor and training state of a plan.

    Args:
        plan: The plan of the run.
        execution: Execution config of the resumed run; chosen automatically if None.
    """
    config = plan.config
    compiled = should_compile(plan) if execution is None else execution.compiled
    if execution is None:
        steps = steps_per_execution(plan.multiplications, config.fit.batch_size)
        execution = ExecutionConfig(compiled, steps, epochs_per_execution=1)
    learner = _learner(plan, compiled=compiled)
    started = perf_counter()
    train = plan.dataset.samples("train", training=True)
    assert train is not None, "a plan has training rows"
    encode_seconds = perf_counter() - started
    batching = Batching(
        seed=config.seed,
        batch_size=plan.rows_per_step,
        shuffle=True,
        steps_per_execution=execution.steps_per_execution,
    )
    executor = LearnerExecutor(learner, WholeBatchRows(train, batching), None, compiled=compiled)
    measures = SampleMeasures(config, plan.dataset, executor.evaluator.predict)
    training = _training(plan, train, _metrics(learner, measures))
    training.rollback = Rollback.from_settings(config.fit.on_nonfinite, learner)
    return GenerationSetup(
        network=learner.generator,
        training=training,
        group=TrainingGroup([training], executor, config.fit.max_seconds or math.inf),
        executor=executor,
        saved=build_generator(plan.settings, plan.shape, config.seed),
        execution=execution,
        encode_seconds=encode_seconds,
        plan=plan,
        learner=learner,
        measures=measures,
    )


def _learner(plan: GenerationPlan, *, compiled: bool) -> AdversarialLearner:
    config, settings, shape = plan.config, plan.config.generation, plan.shape
    builders = {GENERATOR: build_generator, DISCRIMINATOR: build_discriminator}
    networks = {
        name: build(plan.settings, shape, config.seed, compiled=compiled)
        for name, build in builders.items()
    }
    optimizers = {
        GENERATOR: build_optimizer(
            plan.settings.generator.optimizer, plan.steps_per_epoch, plan.total_steps, "float32"
        ),
        DISCRIMINATOR: build_optimizer(
            plan.settings.discriminator.optimizer,
            plan.steps_per_epoch * settings.discriminator_steps,
            plan.total_steps * settings.discriminator_steps,
            "float32",
        ),
    }
    noise = settings.instance_noise
    over = None if noise is None else noise.over
    return AdversarialLearner(
        networks,
        optimizers,
        AdversarialSettings(
            shape=shape,
            blocks=plan.dataset.preprocessing.blocks,
            loss=settings.loss,
            gradient_penalty=resolved_penalty(settings),
            discriminator_steps=settings.discriminator_steps,
            label_smoothing=settings.label_smoothing,
            noise=0.0 if noise is None else noise.stddev,
            noise_steps=0 if over is None else duration_steps(over, plan.steps_per_epoch),
            seed=config.seed,
        ),
    )


def _metrics(learner: AdversarialLearner, measures: SampleMeasures) -> MetricFunction:
    def compute_metrics(output: EpochOutput, samples: Samples) -> dict[str, float]:
        means = dict(
            zip(TRAINED_OUTPUTS, output.predictions.mean(axis=0, dtype=np.float64), strict=True)
        )
        with learner.averaged():
            measured = measures.measure(measures.compared_split)
        return {
            "generator_loss": float(means["generator_loss"]),
            "discriminator_loss": float(means["discriminator_loss"]),
            "discriminator_accuracy": float((means["real"] + means["fake"]) / 2),
            **measured,
        }

    return compute_metrics


def _training(plan: GenerationPlan, train: Samples, compute_metrics: MetricFunction) -> Training:
    fit = plan.config.fit
    return Training(
        train=train,
        validation=None,
        compute_metrics=compute_metrics,
        monitors=Monitors.start(fit, has_validation=False),
        monitor=resolved_monitor(fit, has_validation=False),
        total_steps=plan.total_steps,
        keep_last=fit.early_stopping is not None and not fit.early_stopping.restore_best,
        advice=_ADVICE,
    )
