"""How the predictions of an export are compared with those of `predict`."""

from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from trainer.export.check import _greatest_difference

NUMBERS: Any = SimpleNamespace(kind=SimpleNamespace(rules=SimpleNamespace(has_numbers=True)))


def test_the_std_of_members_has_the_unit_of_their_mean() -> None:
    expected = pl.DataFrame({"predicted_y": [0.0, 100.0], "predicted_y_std": [1.0, 1.0001]})
    found = expected.with_columns(pl.col("predicted_y_std") + 1e-3)
    # The spread of 0 and 100 is 50; that of the standard deviations is 0.00005.
    difference, column = _greatest_difference(NUMBERS, expected, found, usual=2)
    assert column == "predicted_y_std"
    assert difference == pytest.approx(1e-3 / 50)
