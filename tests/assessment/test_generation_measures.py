"""Measures of samples, against closed forms and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

from trainer.assessment.generation_measures import (
    Reference,
    failures,
    frechet_distance,
    mean_distance,
    measure,
    neighbor_distances,
    precision_and_recall,
    share_of_modes,
)


def points(rows, columns=4, seed=0, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(rows, columns))


class TestFrechetDistance:
    def test_equals_the_formula_with_the_square_root_of_a_matrix(self):
        mixing = np.random.default_rng(5).normal(size=(4, 4))
        first, second = points(300, seed=1) @ mixing, points(200, seed=2) + 0.5
        covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
        difference = first.mean(axis=0) - second.mean(axis=0)
        root = sqrtm(covariances[0] @ covariances[1]).real
        expected = difference @ difference + np.trace(covariances[0] + covariances[1] - 2 * root)
        assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)

    @given(st.floats(-5, 5), st.integers(1, 6))
    @settings(max_examples=20, deadline=None)
    def test_of_shifted_points_is_the_squared_shift(self, shift, columns):
        first = points(100, columns)
        distance = frechet_distance(first, first + shift)
        assert distance == pytest.approx(columns * shift**2, abs=1e-8)


class TestPrecisionAndRecall:
    def test_of_equal_points_are_1(self):
        assert precision_and_recall(points(50), points(50)) == (1.0, 1.0)

    def test_of_distant_points_are_0(self):
        assert precision_and_recall(points(50), points(50) + 100) == (0.0, 0.0)

    def test_a_collapsed_generator_is_precise_but_has_no_recall(self):
        real = points(400, 2, seed=1)
        samples = real[:1] + points(400, 2, seed=2, scale=1e-3)
        precision, recall = precision_and_recall(real, samples)
        assert precision == 1.0
        assert recall < 0.05

    def test_distances_are_those_of_scikit_learn(self):
        first, second = points(700, 3, seed=1), points(90, 3, seed=2)
        nearest = NearestNeighbors(n_neighbors=3).fit(second).kneighbors(first)[0][:, 2]
        np.testing.assert_allclose(np.sqrt(neighbor_distances(first, second, 3)), nearest)
        own = NearestNeighbors(n_neighbors=4).fit(first).kneighbors(first)[0][:, 3]
        found = np.sqrt(neighbor_distances(first, first, 3, is_same=True))
        np.testing.assert_allclose(found, own)


def test_mean_distance_is_that_of_all_pairs():
    values = points(40, 3)
    distances = np.square(values[:, None] - values).sum(axis=2)
    pairs = distances[~np.eye(40, dtype=bool)]
    assert mean_distance(values) == pytest.approx(np.sqrt(pairs.mean()))


def test_a_mode_needs_a_quarter_of_its_share():
    shares = np.array([0.5, 0.3, 0.2, 0.0])
    classes = np.array([0] * 90 + [1] * 8 + [2] * 2)
    assert share_of_modes(shares, classes) == pytest.approx(2 / 3)


def test_modes_are_measured_only_with_classes():
    reference = Reference(points(60), np.array([0.5, 0.5]))
    assert "modes" in measure(reference, points(60, seed=1), np.arange(60) % 2)
    assert "modes" not in measure(reference, points(60, seed=1), None)


GOOD = {"diversity": 0.9, "modes": 1.0, "discriminator_accuracy": 0.7}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"diversity": 0.1}, "mode collapse"),
        ({"modes": 0.3}, "30% of the classes"),
        ({"discriminator_accuracy": 0.999}, "discriminator recognizes nearly all"),
    ],
)
def test_failures_of_the_last_epochs_are_named(changes, words):
    found = failures([GOOD] * 7 + [{**GOOD, **changes}] * 3)
    assert [words in text for text in found] == [True] * (words is not None)
    assert not failures([{**GOOD, **changes}] * 9)
