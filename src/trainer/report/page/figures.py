"""Plots drawn by matplotlib, as small SVG that stands inside a page, or as PNG.

Colours are those of style.css in light mode; in SVG each becomes the variable of that name, so that a
plot follows light and dark. Text stays text. Equal plots are equal bytes.

Owns: matplotlib, the look all plots share. Does not own: what a plot shows (`Plot.draw`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib.util import find_spec
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.report.page.content import Plot
from trainer.report.text import cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, LINE, PAPER, SHADE = "#1b1f25", "#56606b", "#d3d9e0", "#ffffff", "#f5f7f9"
COLOURS = ("#0b62c3", "#b04a00", "#0c7550", "#8638b4", "#b3261f", "#5a636e")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 3)))
"""Each curve has a dash of its own, so that colour is never all that tells two apart."""

Float64Array = npt.NDArray[np.float64]

_VARIABLES = {
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    PAPER: "paper",
    SHADE: "panel",
    **{colour: f"c{number}" for number, colour in enumerate(COLOURS, 1)},
}
_LOOK = {
    "axes.edgecolor": SOFT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.edgecolor": LINE,
    "legend.facecolor": PAPER,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "axes.formatter.limits": (-4, 5),
    "path.simplify": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "trainer",
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a name begins no formula
    "text.usetex": False,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
}
_PNG_DPI = 160
_RIGHT, _TOP = 0.2, 0.1
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

_TAG = re.compile(r"<[^>]*>")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")
_FAMILY = re.compile(r"font-family: [^;\"]*;? ?")
_GROUP = re.compile(r"<g(?: id=\"[^\"]*\")?>|<g [^>]*>|</g>")
_IDENTIFIER = re.compile(r" id=\"([^\"]*)\"")


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def dots(
    axes: Any,
    x: Float64Array,
    y: Float64Array,
    colour: str,
    size: float = 3.2,
    label: str | None = None,
) -> None:
    """Points as one path of strokes without length: a tenth of the bytes of as many markers."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Way

    ends = np.repeat(np.stack([x, y], axis=1), 2, axis=0)
    if not len(ends):
        return
    codes = np.tile(np.array([Way.MOVETO, Way.LINETO], np.uint8), len(x))
    look = {"facecolor": "none", "edgecolor": colour, "capstyle": "round", "linewidth": size}
    axes.add_patch(PathPatch(Way(ends, codes), alpha=0.7, **look))
    axes.update_datalim(ends)
    axes.autoscale_view()
    if label is not None:
        axes.plot([], [], color=colour, marker="o", linestyle="", markersize=size, label=label)


def rectangles(
    axes: Any, x: npt.NDArray[Any], y: npt.NDArray[Any], colour: str, alpha: float
) -> None:
    """Unit squares around points, as one path."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Way

    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    ways = (np.stack([x, y], axis=1)[:, None, :] + corners).reshape(-1, 2)
    codes = [Way.MOVETO, Way.LINETO, Way.LINETO, Way.LINETO, Way.CLOSEPOLY]
    path = Way(ways, np.tile(np.array(codes, np.uint8), len(x)))
    axes.add_patch(PathPatch(path, facecolor=colour, edgecolor="none", alpha=alpha))


def count_across(axes: Any, what: str) -> None:
    """Label the x axis of epochs or trials, with ticks at whole numbers alone."""
    axes.set_xlabel(what)
    axes.xaxis.get_major_locator().set_params(integer=True)


def scale_by_magnitude(axes: Any) -> None:
    """Draws y by its logarithm, the ticks as plain numbers."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def across_by_magnitude(axes: Any) -> None:
    """Draws x by its logarithm, the ticks as plain numbers."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def svg_text(plot: Plot) -> str:
    """The plot as an `<svg>` element with a title and a description."""
    picture = StringIO()
    with _drawn(plot) as figure:
        figure.savefig(picture, format="svg", metadata=_METADATA, transparent=True)
    text = picture.getvalue()
    body = text[text.index("</defs>") + len("</defs>") : text.rindex("</svg>")]
    width, height = plot.width * 72, plot.height * 72
    title, description = f"{plot.name}-title", f"{plot.name}-description"
    return (
        f'<svg role="img" aria-labelledby="{title} {description}" '
        f'viewBox="0 0 {width:g} {height:g}">'
        f'<title id="{title}">{escape(cell(plot.title))}</title>'
        f'<desc id="{description}">{escape(cell(plot.description))}</desc>'
        f"{_small(body, plot.name)}</svg>"
    )


def png_bytes(plot: Plot) -> bytes:
    """The plot as PNG, in the colours of light mode."""
    picture = BytesIO()
    with _drawn(plot) as figure:
        figure.subplots_adjust(top=1 - 0.35 / plot.height)
        figure.axes[0].set_title(cell(plot.title), fontsize=10)
        # Without the version of the drawing program equal plots are equal files.
        figure.savefig(picture, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    return picture.getvalue()


@contextmanager
def _drawn(plot: Plot) -> Iterator[Figure]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_LOOK), warnings.catch_warnings():
        # A name in a script that the font lacks is a reader's browser to draw.
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(plot.width, plot.height), facecolor=PAPER)
        # Margins that matplotlib would find by itself take it as long as the drawing.
        figure.subplots_adjust(
            left=plot.left / plot.width,
            right=1 - _RIGHT / plot.width,
            bottom=plot.bottom / plot.height,
            top=1 - _TOP / plot.height,
        )
        plot.draw(figure.add_subplot())
        yield figure


def _small(body: str, name: str) -> str:
    """The drawing without what a page does not need, its ids the plot's own."""
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = _TAG.sub(lambda tag: _small_tag(tag[0]), body)
    body = re.sub(r">\s+<", "><", body.strip())
    referred = set(re.findall(r"(?:url\(|href=\")#([^\")]+)", body))
    numbers = {known: f"{name}-{number}" for number, known in enumerate(sorted(referred))}
    body = _IDENTIFIER.sub(
        lambda found: f' id="{numbers[found[1]]}"' if found[1] in numbers else "", body
    )
    body = re.sub(
        r"(url\(|href=\")#([^\")]+)", lambda found: f"{found[1]}#{numbers[found[2]]}", body
    )
    return _without_bare_groups(body)


def _small_tag(tag: str) -> str:
    tag = tag.replace("xlink:href", "href")
    if "data:image" in tag:
        return tag
    tag = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), tag)
    tag = _FAMILY.sub("", " ".join(tag.split()))
    tag = re.sub(r" transform=\"rotate\(-0 [^\"]*\"", "", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return tag


def _without_bare_groups(body: str) -> str:
    kept: list[bool] = []

    def shorten(found: re.Match[str]) -> str:
        tag = found[0]
        if tag == "</g>":
            return tag if kept.pop() else ""
        kept.append(tag != "<g>")
        return tag if kept[-1] else ""

    return _GROUP.sub(shorten, body)
