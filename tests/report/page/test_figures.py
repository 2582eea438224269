from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainer.report.page.content import Plot
from trainer.report.page.figures import COLORS, dots, svg_text, use_integer_x, use_log_y

pytest.importorskip("matplotlib")


def draw(axes: Any) -> None:
    axes.plot([0, 1], [0.12345, 2.5], color=COLORS[1], label="a <b> & $x_1$ 0.98765")
    dots(axes, np.array([0.25, 0.5]), np.array([1.0, 2.0]), COLORS[0])
    axes.legend()


PLOT = Plot("some-plot", "a <title>", "what is \x00 seen", draw)


def test_text_is_kept_and_colors_are_variables() -> None:
    text = svg_text(PLOT)
    assert "a &lt;b&gt; &amp; $x_1$ 0.98765" in text  # neither rounded nor parsed as math
    assert "var(--c2)" in text
    assert "var(--ink)" in text
    assert not re.search(r"#[0-9a-f]{6}\b(?![-\w])(?=[;\"])", text.replace("url(#", ""))
    assert '<title id="some-plot-title">a &lt;title&gt;</title>' in text
    assert "what is \\x00 seen</desc>" in text
    assert "metadata" not in text
    assert "xlink" not in text
    assert "\n" not in text


def test_svg_is_deterministic_and_ids_are_unique() -> None:
    assert svg_text(PLOT) == svg_text(PLOT)
    ids = [set(re.findall(r" id=\"([^\"]+)\"", svg_text(replace(PLOT, name=n)))) for n in "ab"]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_svg_is_compact() -> None:
    assert not re.search(r" d=\"[^\"]*\.\d{3}", svg_text(PLOT))
    rng = np.random.default_rng(0)

    def many(axes: Any) -> None:
        dots(axes, *rng.normal(size=(2, 1_000)), COLORS[0])

    def none(axes: Any) -> None:
        dots(axes, np.zeros(0), np.zeros(0), COLORS[0])

    more = len(svg_text(replace(PLOT, draw=many))) - len(svg_text(replace(PLOT, draw=none)))
    assert more < 40_000


def test_log_axis_has_plain_numbers() -> None:
    def falling(axes: Any) -> None:
        axes.plot([1, 2, 3], [1.0, 0.1, 0.001])
        use_log_y(axes)

    text = svg_text(replace(PLOT, draw=falling))
    assert ">0.01<" in text
    assert "mathdefault" not in text


def test_integer_ticks() -> None:
    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0.125, 0.375])
        axes.set_yticks([])
        use_integer_x(axes, "epoch")

    ticks = re.findall(r">([-\d.]+)</text>", svg_text(Plot("epochs", "Epochs", "", draw)))
    assert "1" in ticks
    assert not [tick for tick in ticks if "." in tick]


def test_matplotlib_settings_of_the_user_are_ignored() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"text.usetex": True, "svg.fonttype": "path", "path.simplify": True}):
        assert svg_text(PLOT) == svg_text(PLOT)
        assert ">0.5<" in svg_text(PLOT)
