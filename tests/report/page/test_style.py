"""Contrast of the colors in light mode, dark mode and print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trainer.report.page
from trainer.report.page import figures

STYLE = Path(trainer.report.page.__file__).with_name("style.css").read_text("utf-8")
LIGHT, DARK, PRINT = (
    dict(re.findall(r"--([a-z0-9]+): ([^;]+);", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)
MODES = {"light": LIGHT, "dark": DARK, "print": PRINT}
WCAG_AA = 4.5


def rgb(color: str) -> tuple[float, ...]:
    if color.startswith("#"):
        return tuple(int(color[index : index + 2], 16) for index in (1, 3, 5))
    return tuple(map(float, color.split()))


def luminance(color: tuple[float, ...]) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    linear = [
        item / 255 / 12.92 if item / 255 <= 0.04045 else ((item / 255 + 0.055) / 1.055) ** 2.4
        for item in color
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(item: tuple[float, ...], other: tuple[float, ...]) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio"""
    high, low = sorted((luminance(item), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_formula() -> None:
    assert contrast((255, 255, 255), (0, 0, 0)) == pytest.approx(21)
    assert contrast(rgb("#767676"), rgb("#ffffff")) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("mode", MODES)
def test_contrast_of_text_and_curves(mode: str) -> None:
    colors = {name: rgb(color) for name, color in MODES[mode].items()}
    text = ("ink", "soft", "link", "warn", "c1", "c2", "c3", "c4", "c5", "c6")
    for name in text:
        for background in ("paper", "panel"):
            ratio = contrast(colors[name], colors[background])
            assert ratio >= WCAG_AA, (name, background, ratio)
    assert contrast(colors["ink"], colors["mark"]) >= WCAG_AA
    used = re.findall(r"var\(--([a-z]+)\) / calc\(var\(--share\) \* ([.\d]+)", STYLE)
    assert {name for name, _ in used} == {"shade", "fall"}
    for name, strength in used:
        pairs = zip(colors[name], colors["paper"], strict=True)
        shaded = tuple(
            float(strength) * item + (1 - float(strength)) * other for item, other in pairs
        )
        assert contrast(colors["ink"], shaded) >= WCAG_AA


def test_print_is_light_and_modes_are_complete() -> None:
    assert PRINT == LIGHT
    assert set(DARK) == set(LIGHT)
    used = set(re.findall(r"var\(--([a-z0-9]+)\)", STYLE)) - {"share"}
    assert used <= set(LIGHT)


def test_plots_use_the_colors_of_light_mode() -> None:
    expected = {
        "ink": figures.INK,
        "soft": figures.SOFT,
        "line": figures.LINE,
        "paper": figures.PAPER,
    }
    expected |= {f"c{number}": color for number, color in enumerate(figures.COLORS, 1)}
    assert expected == {name: LIGHT[name] for name in expected}
