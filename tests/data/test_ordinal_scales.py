"""The order of ordinal levels."""

from __future__ import annotations

import random

import pytest

from trainer.data.ordinal_scales import ordered_levels

SCALES = {
    "low medium high": ["low", "medium", "high"],
    "with spaces and mixed case": ["Very Low", "LOW", "medium", "High", "very  high"],
    "with separators": ["very_low", "low", "mid-high", "very-high"],
    "frequency": ["never", "rarely", "sometimes", "often", "always"],
    "severity": ["none", "mild", "moderate", "severe"],
    "quality": ["bad", "fair", "good", "excellent"],
    "quality codes": ["Po", "Fa", "TA", "Gd", "Ex"],
    "sizes": ["XS", "S", "M", "L", "XL", "XXL"],
    "sizes in words": ["small", "medium", "large"],
    "weekdays": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    "months": ["January", "March", "May", "August", "December"],
    "abbreviated months": ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct"],
    "agreement": ["Strongly disagree", "Disagree", "Neutral", "Agree", "Strongly agree"],
    "part of a scale": ["fair", "very good"],
}


@pytest.mark.parametrize("scale", SCALES)
def test_scale_levels_are_in_scale_order(scale):
    shuffled = random.Random(1).sample(SCALES[scale], len(SCALES[scale]))
    assert ordered_levels(shuffled) == (SCALES[scale], "scale")


@pytest.mark.parametrize(
    "levels",
    [["2", "10", "10.5"], ["grade 2", "grade 10"], ["0-9", "10-19", "100-109"], ["-1", "0", "1e2"]],
)
def test_numbers_are_in_numerical_order(levels):
    assert ordered_levels(levels[::-1]) == (levels, "numbers")


@pytest.mark.parametrize(
    "levels",
    [
        ["high", "low", "unknown"],  # one level is in no scale
        ["cat", "dog"],
        ["medium", "moderate", "high"],  # synonyms
        ["<18", "18-25"],
    ],
)
def test_other_levels_are_in_alphabetical_order(levels):
    assert ordered_levels(levels)[1] == "alphabet"
