from __future__ import annotations

import random

from trainer.models.seeds import default_seed, derived_seed


def test_seeds_do_not_change_between_versions() -> None:
    assert derived_seed(0, "dense", "kernel") == 216287559
    assert derived_seed(7, "dense_1", "bias") == 1633311251


def test_seeds_differ_by_seed_layer_and_purpose() -> None:
    seeds = {
        derived_seed(seed, layer, purpose)
        for seed in (0, 1, 2**63 - 1)
        for layer in ("dense", "dense_1", "head")
        for purpose in ("kernel", "bias")
    }
    assert len(seeds) == 18
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_default_seed_sets_and_restores_the_state() -> None:
    before = random.getstate()
    drawn = []
    for seed in (1, 1, 2):
        with default_seed(seed):
            drawn.append(random.random())
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.getstate() == before
