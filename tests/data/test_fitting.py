"""Columns in memory are fitted block by block."""

import pytest

from trainer.data import values

DROPS = {"numeric": {"impute": "drop"}, "clean": {"outliers": {"action": "drop"}}}


@pytest.mark.parametrize("data", [{}, DROPS], ids=["all rows", "rows dropped"])
def test_blocks_of_columns_do_not_change_the_fit(data, mixed_frame, prepare_frame, monkeypatch):
    whole = prepare_frame(mixed_frame, **data)
    monkeypatch.setattr(values, "BLOCK_CELLS", 1)
    split = prepare_frame(mixed_frame, **data)
    assert split.preprocessing == whole.preprocessing
    assert split.dropped == whole.dropped
    assert bool(whole.dropped) == bool(data)
    assert (split.warnings, split.notes, split.hints) == (whole.warnings, whole.notes, whole.hints)
