"""A stack computes for each member what its network computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainer.models.stacking import StackedNetwork, StackMember

EMBEDDINGS = [(4, 2), (3, 5)]


def test_ids_select_vectors_of_the_members_own_tables(
    config_of: Callable[..., Any], network_of: Callable[..., Any]
) -> None:
    layers = [{"dense": {"units": 3, "activation": "tanh"}}]
    members = [
        StackMember(
            config_of(layers, seed=seed), network_of(layers, embeddings=EMBEDDINGS, seed=seed)
        )
        for seed in range(3)
    ]
    stack = StackedNetwork(members)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(3, 20, 6)).astype(np.float32)
    for column, (levels, _) in zip((4, 5), EMBEDDINGS, strict=True):
        # 0 is the id of values that no training row has.
        x[..., column] = generator.integers(0, levels, (3, 20))
    outputs = stack(x, stack.hyperparameters, training=False).outputs
    for number, member in enumerate(members):
        np.testing.assert_allclose(outputs[number], member.network(x[number]), rtol=1e-6)
    assert [variable.shape for variable in stack.variables[:2]] == [(12, 2), (9, 5)]
