from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.evaluation.samples import samples
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.ranking_metrics import ColumnRanking
from trainer.models.ranking_metrics import average_precision, roc_auc


@settings(max_examples=150, deadline=None)
@given(samples("binary"))
def test_many_weightings(sample: Predictions) -> None:
    y, p = sample.y[:, 0], sample.p[:, 0]
    weights = np.random.default_rng(len(y)).integers(0, 3, (6, len(y))).astype(float)
    weights[0] = sample.weights()
    area, precision = ColumnRanking(y > 0.5, p).areas(weights)
    for row, weight in enumerate(weights):
        assert area[row] == pytest.approx(roc_auc(y, p, weight), nan_ok=True)
        assert precision[row] == pytest.approx(average_precision(y, p, weight))


def test_single_class() -> None:
    weights = np.ones((2, 3))
    for truth, expected in ((False, 0.0), (True, 1.0)):
        area, precision = ColumnRanking(np.full(3, truth), np.arange(3.0)).areas(weights)
        assert np.isnan(area).all()
        assert precision.tolist() == [expected, expected]
