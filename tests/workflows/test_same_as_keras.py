"""Training gives the weights of plain Keras `fit` on the same batches in the same order.

Both sides build the model, the optimizer and the loss from the config. The loop, the batches and their
order are ours on one side and Keras's on the other.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.marks import slow_except
from trainer.config.load import load_config
from trainer.config.losses import LOSSES, LossKind
from trainer.config.model import POSITIVE_HEADS
from trainer.engine.batches import run_to_end
from trainer.engine.rows import epoch_order
from trainer.inputs import keras_inputs
from trainer.models.losses import build_loss
from trainer.models.network import build_network
from trainer.models.optimizers import build_optimizer
from trainer.workflows.building import build_training
from trainer.workflows.plan import make_plan

EPOCHS = 3
# Those that differ in what the loop sees: slots, shared state, weights for evaluation.
OPTIMIZER_NAMES = ("sgd", "adam", "nadam", "lamb", "schedule_free_adamw", "muon")
OPTIMIZERS = {name: [f"optimizer={name}"] for name in OPTIMIZER_NAMES}
SCHEDULES = {
    f"schedule {schedule}": [f"optimizer.schedule={schedule}"]
    for schedule in (
        "{polynomial: {warmup: 1 epoch, power: 2}}",
        "{cosine_restarts: {first: 6 steps}}",
    )
}
LAYERS = {
    f"layer {layer}": [f"model.layers=[{{dense: {{units: 6, activation: tanh}}}}, {layer}]"]
    for layer in (
        "batch_normalization",
        # Adam divides the rounding errors of a bias before a normalization by themselves.
        "{reshape: [3, 2]}, {residual: {layers: [{conv1d: {filters: 4, padding: same, use_bias: "
        "false}}, batch_normalization], normalize_shortcut: true}}, {max_pool1d: 2}, flatten",
        "{reshape: [3, 2, 1]}, {separable_conv2d: {filters: 4, kernel_size: 2}}, "
        "{group_normalization: 2}, global_average_pool",
        "{dense: {units: 4, activity_regularizer: {l2: 0.01}}}",
        "{dense: {units: 4, kernel_constraint: {max_norm: 0.8}, bias_constraint: non_negative}}",
    )
}
HEADS = {
    "sigmoid": [],
    "softmax": ["data.target=color"],
    "linear": ["data.target=size", "data.target_scale=none"],
    "softplus": ["data.target=age", "data.task=regression"],
    "exponential": ["data.target=age", "data.task=regression"],
}


def head_of(number: int, kind: LossKind) -> str:
    """Return one of the heads of a loss; the next loss has the next one."""
    # Positive heads are meant for count losses; with any other loss they behave like any head.
    heads = [head for head in kind.heads if head not in POSITIVE_HEADS or kind.is_for_counts]
    return heads[number % len(heads)]


LOSS_HEADS = {
    loss: head_of(number, kind)
    for number, (loss, kind) in enumerate(LOSSES.items())
    if loss != "auto"
}
LOSS_CASES = {
    f"{loss} on {head}": [f"loss={loss}", f"model.head={head}", *HEADS[head]]
    for loss, head in LOSS_HEADS.items()
}
OTHERS = {
    "class weights": ["fit.class_weight={yes: 3, no: 0.5}"],
    "softmax of two": ["model.head=softmax", "fit.class_weight=balanced"],
    "clip norm": ["optimizer.clip_norm=0.01"],
    "bfloat16": ["runtime.precision=mixed_bfloat16"],
    "float16": ["runtime.precision=mixed_float16"],
    "dropout and noise": ["model.layers=[{dense: 6}, {dropout: 0.3}, {gaussian_noise: 0.1}]"],
}
CASES = {**OPTIMIZERS, **SCHEDULES, **LAYERS, **LOSS_CASES, **OTHERS}
TOLERANCES = {"bfloat16": 3e-2, "float16": 5e-3, "muon": 2e-3}
COMBINED = {
    "adamw": [
        "optimizer={name: adamw, learning_rate: 0.01, weight_decay: 0.1, ema: 0.9}",
        "optimizer.schedule={cosine: {warmup: 7 steps}}",
        "model.layers=[learned_scale, {dense: 6}, batch_normalization, {dropout: 0.3}, "
        "{activation: gelu}]",
        "fit.class_weight=balanced",
        "data.weight=age",
        "fit.batch_size=24",  # divides the rows: Keras trains in one call
    ],
    "sgd": [
        "optimizer={name: sgd, learning_rate: 0.1, momentum: 0.9, global_clip_norm: 0.01}",
        "optimizer.gradient_accumulation_steps=2",
        "optimizer.schedule={piecewise: {at: [1 epoch, 12 steps], factors: [0.5, 0.1]}}",
        "model.layers=[{dense: {units: 6, kernel_regularizer: {l2: 0.02}}}, layer_normalization, "
        "{dense: {units: 4, kernel_constraint: {max_norm: 0.8}}}]",
        "data.target=color",
        "loss={name: categorical_crossentropy, label_smoothing: 0.1}",
        "data.categorical.encode=embedding",
    ],
    "rmsprop": [
        "optimizer={name: rmsprop, learning_rate: 0.01, clip_value: 0.001}",
        "optimizer.ema={momentum: 0.5, overwrite_every: 4 steps}",
        "data.target=age",
        "data.task=regression",
        "loss=poisson",
        "fit.shuffle=false",
        "fit.batch_size=24",
    ],
}
"""Several settings per training; `CASES` has those that are in none of these."""


@pytest.mark.parametrize("case", slow_except(["adamw"], COMBINED))
def test_combined_settings_give_the_weights_of_keras(case, small):
    assert_same_weights(small, COMBINED[case], 5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_each_setting_gives_the_weights_of_keras(case, small):
    assert_same_weights(small, CASES[case], TOLERANCES.get(case, 5e-4))


def assert_same_weights(config: Path, overrides: list[str], tolerance: float) -> None:
    add_age(config.parent / "small.csv")
    ours, theirs = train_both(config, ["optimizer.learning_rate=0.01", *overrides])
    for actual, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def train_both(config: Path, overrides: list[str]) -> tuple[list, list]:
    """Return the weights after `EPOCHS` epochs: ours and those of Keras."""
    overrides = [f"fit.epochs={EPOCHS}", "model.layers=[{dense: 6}]", *overrides]
    plan = make_plan(load_config(config, overrides))
    settings, task = plan.config, plan.task
    built = build_training(plan, allow_custom=False)
    for epoch in range(1, EPOCHS + 1):
        run_to_end(built.group.executor.run_epoch(epoch, plan.total_steps))
    built.group.executor.sync_variables(EPOCHS)

    network = build_network(
        settings,
        task.network_shape(plan.dataset.preprocessing),
        task.prior(),
        allow_custom=False,
        base=Path(),
    )
    network.compile(
        build_optimizer(
            settings.optimizer, plan.steps_per_epoch, plan.total_steps, settings.runtime.precision
        ),
        build_loss(task.loss),
        jit_compile=False,
    )
    # Some optimizers copy the initial weights; Keras advises building those before training.
    network.optimizer.build(network.trainable_variables)
    train = plan.dataset.samples("train")
    train = task.apply_class_weights(task.encode_targets(train), settings.fit.class_weight)
    orders = [
        epoch_order(len(train), settings.seed, epoch, settings.fit.shuffle)
        for epoch in range(1, EPOCHS + 1)
    ]
    if len(train) % settings.fit.batch_size == 0:
        # A single call to fit, because Keras overwrites the weights with the averages at its end.
        orders = [np.concatenate(orders)]
    for order in orders:
        network.fit(
            keras_inputs({name: values[order] for name, values in train.inputs.items()}),
            train.y[order],
            sample_weight=None if train.weight is None else train.weight[order],
            batch_size=settings.fit.batch_size,
            shuffle=False,
            verbose=0,
        )
    return built.group.evaluation_weights(0), network.get_weights()


def add_age(table: Path) -> None:
    header, *rows = table.read_text().splitlines()
    lines = [f"{row},{20 + number % 50}" for number, row in enumerate(rows)]
    table.write_text("\n".join([f"{header},age", *lines]) + "\n")
