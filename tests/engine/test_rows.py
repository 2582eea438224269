"""The order of the rows in an epoch."""

import numpy as np

from tests.engine.networks import samples
from trainer.engine.rows import Batching, ResidentRows, epoch_order


def test_order_depends_only_on_seed_and_epoch():
    first = epoch_order(100, 7, 3, True)
    assert sorted(first) == list(range(100))
    assert np.array_equal(first, epoch_order(100, 7, 3, True))
    assert not np.array_equal(first, epoch_order(100, 7, 4, True))
    assert not np.array_equal(first, epoch_order(100, 8, 3, True))
    assert np.array_equal(epoch_order(5, 7, 3, False), np.arange(5))


def test_parts_continue_an_epoch_at_any_row():
    batching = Batching(seed=7, batch_size=4, shuffle=True, steps_per_execution=2)
    rows = ResidentRows(samples(30), batching)
    assert (rows.batch, rows.steps_per_epoch) == (4, 8)
    expected = epoch_order(30, 7, 3, True)
    for first, last in ((0, 30), (8, 30), (4, 20), (30, 30)):
        order = np.empty(last, np.int32)
        parts = [np.asarray(positions) for positions, *_ in rows.parts(3, first, order)]
        assert all(len(part) == 8 for part in parts[:-1])
        assert np.array_equal(np.concatenate([expected[:first], *parts]), expected[:last])
        assert np.array_equal(order, expected[:last])
