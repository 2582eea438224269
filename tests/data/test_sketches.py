import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainer.data.hashing import row_keys
from trainer.data.numeric import SortedValues
from trainer.data.sketches import BottomKSample, Moments, Sketch, sample_limit

values = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32))


@given(x=values, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_merged_moments_match_all_values(x, cuts):
    merged = Moments()
    for part in np.split(x, sorted(cut for cut in cuts if cut < len(x))):
        merged = merged.merged(Moments.from_values(part))
    assert merged.count == len(x)
    assert (merged.minimum, merged.maximum) == (x.min(), x.max())
    size = max(1.0, float(np.abs(x).max()))
    assert merged.mean == pytest.approx(x.mean(), rel=1e-12, abs=1e-12 * size)
    assert merged.std == pytest.approx(x.std(), rel=1e-9, abs=1e-9 * size)


def test_moments_of_large_values_do_not_overflow():
    merged = Moments.from_values(np.array([1e200, 2e200])).merged(
        Moments.from_values(np.array([3e200]))
    )
    assert merged.mean == pytest.approx(2e200)
    assert merged.std == pytest.approx(np.sqrt(2 / 3) * 1e200)


@pytest.mark.parametrize("batch", [7, 100, 5000])
def test_sample_does_not_depend_on_order_or_batches(batch):
    rows = np.random.default_rng(batch).permutation(5000)
    sample = BottomKSample(300)
    for start in range(0, 5000, batch):
        part = rows[start : start + batch]
        sample.add(row_keys(0, part), part.astype(float))
    nearest = np.argsort(row_keys(0, np.arange(5000)))[:300]
    assert np.array_equal(sample.values(), np.sort(nearest).astype(float))


def test_complete_sample_is_exact():
    sample = BottomKSample(300)
    sample.add(row_keys(0, np.arange(300)), np.arange(300.0))
    known = Sketch(Moments.from_values(np.arange(300.0)), SortedValues(sample.values(), 0), 4)
    exact = SortedValues(np.arange(300.0), 4)
    assert known.sampled is None
    for share in (0.0, 0.25, 0.5, 1.0):
        assert known.quantile(share) == exact.quantile(share)
        assert known.impute(7.5).quantile(share) == exact.impute(7.5).quantile(share)
    assert known.impute(7.5).mean() == pytest.approx(exact.impute(7.5).mean(), rel=1e-14)


def test_many_columns_share_the_sample_size():
    assert sample_limit(1) == 1_000_000
    assert sample_limit(1000) * 1000 <= 1 << 24
