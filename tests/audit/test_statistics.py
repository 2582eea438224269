from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from trainer.audit.statistics import (
    auc_standard_error,
    chi_square_critical_value,
    correlation,
    rank_correlation,
)
from trainer.metrics.ranking import roc_auc


def test_auc_standard_error_matches_simulation():
    rng = np.random.default_rng(0)
    areas = [
        roc_auc(np.arange(100) < 40, np.concatenate([rng.normal(1, 1, 40), rng.normal(0, 1, 60)]))
        for _ in range(800)
    ]
    assert auc_standard_error(float(np.mean(areas)), 40, 60) == pytest.approx(
        np.std(areas), rel=0.15
    )


def test_correlations_match_scipy():
    rng = np.random.default_rng(1)
    x = rng.normal(size=50).round(1)
    y = x + rng.normal(size=50).round(1)
    assert correlation(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert correlation(x, np.ones(50)) == 0


@pytest.mark.parametrize("degrees_of_freedom", [1, 2, 9, 20])
@pytest.mark.parametrize("p_value", [0.05, 1e-3, 1e-6, 1e-8])
def test_chi_square_critical_value_matches_scipy(p_value, degrees_of_freedom):
    expected = stats.chi2.isf(p_value, degrees_of_freedom)
    assert chi_square_critical_value(p_value, degrees_of_freedom) == pytest.approx(
        expected, rel=1e-5
    )


def test_split_auc_matches_logistic_regression(tmp_path):
    from trainer.audit.loading import read_audited_table
    from trainer.audit.split_classifier import split_auc
    from trainer.config.schema import Config

    rng = np.random.default_rng(2)
    part = np.arange(1500) % 2
    x = rng.normal(size=(1500, 6)) + part[:, None] * [0.5, 0.3, 0, 0, 0, 0]
    names = [f"x{i}" for i in range(6)]
    lines = [",".join([*names, "y", "part"])]
    lines += [
        ",".join([*map(str, row), str(rng.normal()), ("train", "test")[split]])
        for row, split in zip(x, part, strict=True)
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    split = {"by": "column", "column": "part"}
    _, audited = read_audited_table(
        Config.model_validate({"data": {"source": str(path), "target": "y", "split": split}})
    )
    area, error = split_auc(audited, names, np.flatnonzero(part))
    half = rng.random(1500) < 0.5
    scores = LogisticRegression().fit(x[half], part[half]).decision_function(x[~half])
    assert area == pytest.approx(roc_auc_score(part[~half], scores), abs=3 * error)
    without, error = split_auc(audited, names[2:], np.flatnonzero(part))
    assert without == pytest.approx(0.5, abs=4 * error)
