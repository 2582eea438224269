import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from trainer.assessment.baselines import fit_linear
from trainer.assessment.sparse_terms import SCALE, SparseTerms


@pytest.fixture
def texts():
    generator = np.random.default_rng(0)
    pairs = np.zeros((120, 6, 2), np.float32)
    for row in range(120):
        count = generator.integers(0, 7)
        pairs[row, :count, 0] = generator.choice(np.arange(1, 40), count, replace=False)
        pairs[row, :count, 1] = generator.random(count)
    dense = np.zeros((120, 40))
    np.add.at(dense, (np.arange(120)[:, None], pairs[..., 0].astype(int)), pairs[..., 1])
    return SparseTerms.from_pairs(pairs, 40), dense


def test_products_are_those_of_the_dense_matrix(texts):
    sparse, dense = texts
    generator = np.random.default_rng(1)
    table, outputs = generator.random((40, 3)), generator.random((120, 3))
    np.testing.assert_allclose(sparse @ table, SCALE * dense @ table)
    np.testing.assert_allclose(sparse.transposed_product(outputs), SCALE * dense.T @ outputs)
    rows = np.arange(3, 120, 7)
    np.testing.assert_allclose(sparse.select(rows) @ table, SCALE * dense[rows] @ table)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_classifier_is_that_of_scikit_learn(texts, classes):
    sparse, dense = texts
    generator = np.random.default_rng(2)
    x = generator.normal(size=(120, 2))
    labels = (dense[:, 3:9].sum(axis=1) * 4 + x[:, 0] + generator.normal(size=120)).astype(
        int
    ) % classes
    y = np.eye(classes)[labels] if classes > 2 else labels[:, None].astype(float)
    model = fit_linear("multiclass" if classes > 2 else "binary", x, y, None, sparse)
    standardized = (x - x.mean(axis=0)) / x.std(axis=0)
    both = np.asarray(np.hstack([standardized, SCALE * dense]))
    theirs = LogisticRegression(C=1, tol=1e-8, max_iter=2_000).fit(both, labels)
    expected = theirs.predict_proba(both)
    np.testing.assert_allclose(
        model.predict(x, sparse), expected if classes > 2 else expected[:, 1:], atol=2e-3
    )


def test_the_regression_is_that_of_scikit_learn(texts):
    sparse, dense = texts
    y = dense[:, 5:8].sum(axis=1, keepdims=True) + 3
    model = fit_linear("regression", np.empty((120, 0)), y, None, sparse)
    theirs = Ridge(alpha=1).fit(SCALE * dense, y[:, 0])
    np.testing.assert_allclose(
        model.predict(np.empty((120, 0)), sparse)[:, 0], theirs.predict(SCALE * dense), atol=2e-3
    )
