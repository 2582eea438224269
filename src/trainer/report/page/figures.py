"""Draw plots with matplotlib, as compact SVG to embed in a page, or as PNG.

Colors are those of style.css in light mode; in SVG they are replaced by its CSS variables, so that plots
follow light and dark mode. Text remains text. Equal plots give equal bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from html import escape
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO, StringIO
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.report.page.content import Plot
from trainer.report.text import cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, LINE, PAPER, SHADE = "#1b1f25", "#56606b", "#d3d9e0", "#ffffff", "#f5f7f9"
COLORS = ("#0b62c3", "#b04a00", "#0c7550", "#8638b4", "#b3261f", "#5a636e")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 3)))
"""Each curve has a different dash pattern, so that color is never the only distinction."""

Float64Array = npt.NDArray[np.float64]

_VARIABLES = {
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    PAPER: "paper",
    SHADE: "panel",
    **{color: f"c{index}" for index, color in enumerate(COLORS, 1)},
}
_STYLE = {
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
    "text.parse_math": False,  # dollar signs in names are not formulas
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
    """Return whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


@cache
def import_matplotlib() -> None:
    """Start to import matplotlib in a thread if it is installed, for the page of a network in training.

    Training leaves the interpreter free most of the time. Later calls do nothing.
    """
    if can_draw():
        Thread(target=import_module, args=["matplotlib.backends.backend_svg"], daemon=True).start()


def dots(
    axes: Any,
    x: Float64Array,
    y: Float64Array,
    color: str,
    size: float = 3.2,
    label: str | None = None,
) -> None:
    """Draw points as one path of zero-length strokes, a tenth of the bytes of markers."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as MplPath

    vertices = np.repeat(np.stack([x, y], axis=1), 2, axis=0)
    if not len(vertices):
        return
    codes = np.tile(np.array([MplPath.MOVETO, MplPath.LINETO], np.uint8), len(x))
    style = {"facecolor": "none", "edgecolor": color, "capstyle": "round", "linewidth": size}
    axes.add_patch(PathPatch(MplPath(vertices, codes), alpha=0.7, **style))
    axes.update_datalim(vertices)
    axes.autoscale_view()
    if label is not None:
        axes.plot([], [], color=color, marker="o", linestyle="", markersize=size, label=label)


def rectangles(
    axes: Any, x: npt.NDArray[Any], y: npt.NDArray[Any], color: str, alpha: float
) -> None:
    """Draw unit squares around points as one path."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as MplPath

    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    vertices = (np.stack([x, y], axis=1)[:, None, :] + corners).reshape(-1, 2)
    line = MplPath.LINETO
    codes = np.array([MplPath.MOVETO, line, line, line, MplPath.CLOSEPOLY], np.uint8)
    path = MplPath(vertices, np.tile(codes, len(x)))
    axes.add_patch(PathPatch(path, facecolor=color, edgecolor="none", alpha=alpha))


def use_integer_x(axes: Any, label: str) -> None:
    """Label an x axis of epochs or trials, with integer ticks only."""
    axes.set_xlabel(label)
    axes.xaxis.get_major_locator().set_params(integer=True)


def use_log_y(axes: Any) -> None:
    """Use a logarithmic y axis with plain numbers as ticks."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def use_log_x(axes: Any) -> None:
    """Use a logarithmic x axis with plain numbers as ticks."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def svg_text(plot: Plot) -> str:
    """Render the plot as an `<svg>` element with a title and a description."""
    buffer = StringIO()
    with _drawn(plot) as figure:
        figure.savefig(buffer, format="svg", metadata=_METADATA, transparent=True)
    text = buffer.getvalue()
    body = text[text.index("</defs>") + len("</defs>") : text.rindex("</svg>")]
    width, height = plot.width * 72, plot.height * 72
    title, description = f"{plot.name}-title", f"{plot.name}-description"
    return (
        f'<svg role="img" aria-labelledby="{title} {description}" '
        f'viewBox="0 0 {width:g} {height:g}">'
        f'<title id="{title}">{escape(cell(plot.title))}</title>'
        f'<desc id="{description}">{escape(cell(plot.description))}</desc>'
        f"{_compact(body, plot.name)}</svg>"
    )


def png_bytes(plot: Plot) -> bytes:
    """Render the plot as PNG in the colors of light mode."""
    buffer = BytesIO()
    with _drawn(plot) as figure:
        figure.subplots_adjust(top=1 - 0.35 / plot.height)
        figure.axes[0].set_title(cell(plot.title), fontsize=10)
        # Without the version of matplotlib, equal plots give equal files.
        figure.savefig(buffer, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def _drawn(plot: Plot) -> Iterator[Figure]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Glyphs missing in the font are drawn by the browser.
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(plot.width, plot.height), facecolor=PAPER)
        # Computing the margins automatically takes as long as drawing.
        figure.subplots_adjust(
            left=plot.left / plot.width,
            right=1 - _RIGHT / plot.width,
            bottom=plot.bottom / plot.height,
            top=1 - _TOP / plot.height,
        )
        plot.draw(figure.add_subplot())
        yield figure


def _compact(body: str, name: str) -> str:
    """Remove what a page does not need, and make ids unique by the name of the plot."""
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = _TAG.sub(lambda tag: _compact_tag(tag[0]), body)
    body = re.sub(r">\s+<", "><", body.strip())
    referenced = sorted(set(re.findall(r"(?:url\(|href=\")#([^\")]+)", body)))
    new_ids = {old: f"{name}-{index}" for index, old in enumerate(referenced)}
    body = _IDENTIFIER.sub(
        lambda match: f' id="{new_ids[match[1]]}"' if match[1] in new_ids else "", body
    )
    body = re.sub(
        r"(url\(|href=\")#([^\")]+)", lambda match: f"{match[1]}#{new_ids[match[2]]}", body
    )
    return _without_bare_groups(body)


def _compact_tag(tag: str) -> str:
    tag = tag.replace("xlink:href", "href")
    if "data:image" in tag:
        return tag
    tag = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), tag)
    tag = _FAMILY.sub("", " ".join(tag.split()))
    tag = re.sub(r" transform=\"rotate\(-0 [^\"]*\"", "", tag)
    for color, variable in _VARIABLES.items():
        tag = tag.replace(color, f"var(--{variable})")
    return tag


def _without_bare_groups(body: str) -> str:
    kept: list[bool] = []

    def shorten(match: re.Match[str]) -> str:
        tag = match[0]
        if tag == "</g>":
            return tag if kept.pop() else ""
        kept.append(tag != "<g>")
        return tag if kept[-1] else ""

    return _GROUP.sub(shorten, body)
