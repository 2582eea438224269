"""Memory of networks in training: the sizes, and what is reported if they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainer.config.model import Model
from trainer.models.memory import augmentation_values, estimate_memory, memory_problem
from trainer.models.summary import summarize_layers

Maker = Callable[..., Any]

OPTIMIZERS = [
    {"name": "sgd"},
    {"name": "sgd", "momentum": 0.9},
    {"name": "rmsprop"},
    {"name": "rmsprop", "momentum": 0.5, "centered": True},
    {"name": "adam"},
    {"name": "adam", "amsgrad": True, "ema": 0.9, "gradient_accumulation_steps": 2},
    {"name": "adamw"},
    {"name": "adamw", "amsgrad": True, "gradient_accumulation_steps": 3},
    {"name": "adamax"},
    {"name": "nadam", "ema": 0.9},
    {"name": "lamb"},
    {"name": "schedule_free_adamw"},
    {"name": "adadelta"},
    {"name": "adagrad"},
    {"name": "adafactor"},
    {"name": "ftrl"},
    {"name": "lion"},
    {"name": "muon"},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_memory_matches_keras_variables(
    config_of: Maker, network_of: Maker, shape_of: Maker, optimizer: dict[str, Any]
) -> None:
    from trainer.models.optimizers import build_optimizer

    layers = [
        {"conv2d": 3},
        {"separable_conv2d": 2},
        "batch_normalization",
        {"reshape": [8, -1]},
        {"dense": 3},
        "flatten",
    ]
    embeddings = [(5, 2), (11, 3)]
    config = config_of(layers, optimizer=optimizer)
    network = network_of(layers, width=6, embeddings=embeddings, image=(8, 8, 1))
    built = build_optimizer(config.optimizer, 10, 100, "float32")
    built.build(network.trainable_variables)
    memory = estimate_memory(
        summarize_layers(config.model, shape_of(6, embeddings, image=(8, 8, 1))),
        config.optimizer,
        32,
    )
    assert memory is not None
    sizes = [
        np.asarray(variable.value).nbytes for variable in built.variables if len(variable.shape)
    ]
    assert memory.optimizer == sum(sizes)
    assert memory.weights == sum(np.asarray(w.value).nbytes for w in network.weights)
    assert memory.gradients == sum(np.asarray(w.value).nbytes for w in network.trainable_weights)


CONVOLUTION_A: list[Any] = [
    {"conv2d": {"filters": 32, "kernel_size": 5, "activation": "relu"}},
    "flatten",
    {"dense": {"units": 1000, "activation": "relu"}},
]
CONVOLUTION_B: list[Any] = [
    {"conv2d": {"filters": 64, "padding": "same", "activation": "relu"}},
    {"max_pool2d": 2},
    "flatten",
    {"dense": 1024},
]


def problem_of(
    config_of: Maker,
    shape_of: Maker,
    layers: list[Any],
    optimizer: Any,
    batch: int,
    gigabytes: float,
) -> Any:
    config = config_of(layers, optimizer=optimizer)
    summary = summarize_layers(config.model, shape_of(0, image=(224, 224, 3), outputs=10))
    available = int(gigabytes * 1e9)
    memory = estimate_memory(summary, config.optimizer, batch)
    assert memory is not None
    return memory_problem(
        config.model, config.optimizer, summary, memory, batch, available, "this machine"
    )


def test_a_large_dense_layer_after_flatten_is_reported_with_what_helps(
    config_of: Maker, shape_of: Maker
) -> None:
    problem = problem_of(config_of, shape_of, CONVOLUTION_A, "adam", 32, 24)
    assert problem.key == "model.layers.2.dense"
    assert problem.expected == "a network that trains within the 24.0 GB of this machine"
    assert problem.found == (
        "31.6 GB: weights 6.2 GB, the best weights 6.2 GB, gradients 6.2 GB, "
        "optimizer 12.4 GB, activations of 32 rows 0.6 GB"
    )
    assert problem.fix == (
        "dense has 1,549 million weights, one for each of 1,548,800 values and each unit; use smaller "
        "images (data.image.size), `{max_pool2d: 2}` before flatten, `global_average_pool` in its "
        "place, or fewer units; or set optimizer.name: sgd without momentum, which takes 12.4 GB less"
    )


@pytest.mark.parametrize(("gigabytes", "fits"), [(13.0, False), (13.6, True)])
def test_a_network_that_fits_is_not_reported(
    config_of: Maker, shape_of: Maker, gigabytes: float, fits: bool
) -> None:
    sgd = {"name": "sgd", "momentum": 0.9}
    problem = problem_of(config_of, shape_of, CONVOLUTION_B, sgd, 4, gigabytes)
    assert (problem is None) is fits


@pytest.mark.parametrize(
    ("optimizer", "times"), [({"name": "sgd", "momentum": 0.9}, 7), ({"name": "adam"}, 9)]
)
def test_memory_with_all_copies_is_a_multiple_of_the_weights(
    config_of: Maker, shape_of: Maker, optimizer: Any, times: int
) -> None:
    config = config_of(CONVOLUTION_B, optimizer=optimizer)
    layers = summarize_layers(config.model, shape_of(0, image=(64, 64, 3)))
    memory = estimate_memory(layers, config.optimizer, 4)
    assert memory is not None
    assert memory.total + memory.copies - memory.activations == times * memory.weights


def test_activations_are_reported_with_the_batch_size_that_fits(
    config_of: Maker, shape_of: Maker
) -> None:
    layers: list[Any] = [{"conv2d": 64}, "global_average_pool"]
    problem = problem_of(config_of, shape_of, layers, "adam", 1000, 10)
    assert problem.key == "fit.batch_size"
    (rows,) = [int(word) for word in problem.fix.split() if word.isdigit()]
    assert 100 < rows < 1000
    assert problem_of(config_of, shape_of, layers, "adam", rows, 10) is None
    assert problem_of(config_of, shape_of, layers, "adam", rows + 1, 10) is not None


def test_images_that_change_are_reported_with_the_batch_size_that_fits(
    config_of: Maker, shape_of: Maker
) -> None:
    config = config_of(["global_average_pool"], optimizer={"name": "sgd"})
    model = Model.model_validate(
        {"layers": ["global_average_pool"], "augment": ["flip", {"brightness": 0.2}] * 4}
    )
    image = (224, 224, 3)
    summary = summarize_layers(model, shape_of(0, image=image))
    values = augmentation_values(model, image)
    assert augmentation_values(config.model, image) == augmentation_values(model, None) == 0

    def problem_of_batch(batch: int) -> Any:
        memory = estimate_memory(summary, config.optimizer, batch, values)
        assert memory is not None
        return memory_problem(
            model, config.optimizer, summary, memory, batch, 10**9, "this machine"
        )

    problem = problem_of_batch(1000)
    assert "1000 images that are changed at random 4.8 GB" in problem.found
    assert problem.key == "fit.batch_size"
    (rows,) = [int(word) for word in problem.fix.split() if word.isdigit()]
    assert problem_of_batch(rows) is None
    assert problem_of_batch(rows + 1) is not None


def test_a_large_dense_layer_of_a_table_has_too_many_units(
    config_of: Maker, shape_of: Maker
) -> None:
    layers: list[Any] = [{"dense": 40_000}, {"dense": 40_000}]
    config = config_of(layers, optimizer={"name": "sgd"})
    summary = summarize_layers(Model.model_validate({"layers": layers}), shape_of(6))
    memory = estimate_memory(summary, config.optimizer, 32)
    assert memory is not None
    problem = memory_problem(config.model, config.optimizer, summary, memory, 32, 10**9, "the GPU")
    assert problem is not None
    assert problem.key == "model.layers.1.dense"
    assert problem.fix == "dense_1 has 1,600 million weights; lower its units"
