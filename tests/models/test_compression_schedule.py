"""The schedule of Zhu and Gupta, and when a network is completely compressed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.compress import Cluster, Compress, Prune, Quantize
from trainer.models.compression_schedule import complete_epoch, is_compressed, make_schedule

steps = st.integers(1, 5_000)
shares = st.floats(0.01, 0.99)


@given(steps, shares, st.floats(0, 0.5), st.floats(0.51, 1), st.integers(2, 100_000))
def test_the_sparsity_follows_the_cubic_schedule(total, sparsity, start, end, size):
    prune = Prune(sparsity=sparsity, start=start, end=end)
    schedule = make_schedule(Compress(prune=prune), total)
    assert schedule is not None
    assert list(schedule.updates) == sorted(set(schedule.updates))
    assert 0 <= schedule.prune_start < schedule.updates[0]
    assert schedule.updates[-1] <= total
    time = (np.array(schedule.updates) - schedule.prune_start) / (
        schedule.updates[-1] - schedule.prune_start
    )
    expected = sparsity + (0 - sparsity) * (1 - time) ** 3
    found = [schedule.sparsity_at(update) for update in schedule.updates]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert schedule.sparsity_at(schedule.updates[0] - 1) == 0
    assert schedule.sparsity_at(total) == sparsity
    zeros = [schedule.zeros_at(step, size) for step in (0, *schedule.updates, total)]
    assert zeros == sorted(zeros)
    assert zeros[-1] == min(round(sparsity * size), size - 1)


@given(steps, shares, st.floats(0, 0.99), st.integers(1, 300))
def test_every_method_is_applied_within_training(total, sparsity, start, steps_per_epoch):
    settings = Compress(
        prune=Prune(sparsity=sparsity),
        cluster=Cluster(clusters=16, start=max(0.5, start)),
        quantize=Quantize(dtype="int8", start=start),
    )
    schedule = make_schedule(settings, total)
    assert schedule is not None
    assert schedule.updates[-1] <= schedule.cluster_step <= total
    assert 1 <= schedule.quantize_step <= total
    assert schedule.complete_step <= total
    epoch = complete_epoch(settings, total, steps_per_epoch)
    assert (epoch - 1) * steps_per_epoch < schedule.complete_step <= epoch * steps_per_epoch


def test_nothing_is_compressed_by_default():
    assert make_schedule(Compress(), 100) is None
    assert complete_epoch(Compress(), 100, 10) == 1


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("kernel", (3, 4), True),
        ("depthwise_kernel", (3, 3, 4, 1), True),
        ("embeddings", (10, 2), True),
        ("bias", (4,), False),
        ("gamma", (4,), False),
        ("alpha", (8, 8, 3), False),
    ],
)
def test_kernels_are_compressed(name, shape, expected):
    assert is_compressed(name, shape) == expected
