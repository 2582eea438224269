"""A stack computes for each member what its network computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainer.inputs import keras_inputs
from trainer.models.stacking import StackedNetwork, StackMember

EMBEDDINGS = [(4, 2), (3, 5)]


@pytest.mark.parametrize("width", [6, 2])
def test_ids_select_vectors_of_the_members_own_tables(
    config_of: Callable[..., Any], network_of: Callable[..., Any], width: int
) -> None:
    layers = [{"dense": {"units": 3, "activation": "tanh"}}]
    members = [
        StackMember(
            config_of(layers, seed=seed),
            network_of(layers, width=width, embeddings=EMBEDDINGS, seed=seed),
        )
        for seed in range(3)
    ]
    stack = StackedNetwork(members)
    generator = np.random.default_rng(0)
    # 0 is the id of values that no training row has.
    ids = [generator.integers(0, levels, (3, 20)) for levels, _ in EMBEDDINGS]
    x = {
        "features": generator.normal(size=(3, 20, width - 2)).astype(np.float32),
        "categories": np.stack(ids, axis=-1).astype(np.int32),
    }
    if width == 2:
        x.pop("features")
    outputs = stack(keras_inputs(x), stack.hyperparameters, training=False).outputs
    for number, member in enumerate(members):
        alone = keras_inputs({name: values[number] for name, values in x.items()})
        np.testing.assert_allclose(outputs[number], member.network(alone), rtol=1e-6)
    assert [variable.shape for variable in stack.variables[:2]] == [(12, 2), (9, 5)]
