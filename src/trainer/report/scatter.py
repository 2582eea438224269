"""A scatter plot of predictions over two features.

Owns: the picture. Does not own: which features, which rows.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.errors import Problem, UsageError
from trainer.runs.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWN_ROWS = 20_000
_MARKERS = "osD^vP*X<>"
_COLOURS = "cividis"


def draw_scatter(
    path: Path,
    x: npt.NDArray[Any],
    predictions: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    *,
    names: tuple[str, str],
    title: str,
) -> None:
    """Draws each row at its two features, coloured by its prediction, its true class as the marker.

    Colours are readable by the colour-blind and in grey. Of more than 20,000 rows as many, evenly
    spaced, are drawn.

    Args:
        path: The PNG that is written.
        x: (n, 2), the features.
        predictions: (n,), probabilities of the positive class, or values.
        truth: (n,), the true class (text, truth value or number); more than ten different ones are
            taken for numbers and get one marker.
        names: The names of the features.
        title: What stands above.

    Raises:
        UsageError: matplotlib is not installed.
        StorageError: The file could not be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            Problem(
                where=str(path),
                expected="matplotlib, to draw this plot",
                found="it is not installed",
                fix="pip install 'trainer[plots]'",
                key="evaluate.scatter",
            )
        ) from error
    figure = Figure(figsize=(7, 5.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    kept = np.linspace(0, len(x) - 1, _DRAWN_ROWS).astype(int) if len(x) > _DRAWN_ROWS else ...
    _draw(figure, x[kept], predictions[kept], truth[kept], names=names, title=title)
    picture = BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; that is no fault of the run.
        warnings.simplefilter("ignore", UserWarning)
        # Without the version of the drawing program equal plots are equal files.
        figure.savefig(picture, format="png", metadata={"Software": None})
    write_atomically(path, picture.getvalue())


def _draw(
    figure: Figure,
    x: npt.NDArray[Any],
    predictions: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    *,
    names: tuple[str, str],
    title: str,
) -> None:
    axes = figure.add_subplot()
    finite = predictions[np.isfinite(predictions)].astype(float)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    classes = np.unique(truth)
    if len(classes) > len(_MARKERS):
        groups = [("", np.ones(len(x), dtype=bool))]
    else:
        groups = [(f"true class {name}", truth == name) for name in classes.tolist()]
    points = None
    for marker, (label, chosen) in zip(_MARKERS, groups, strict=False):
        points = axes.scatter(
            x[chosen, 0],
            x[chosen, 1],
            c=predictions[chosen],
            cmap=_COLOURS,
            vmin=low,
            vmax=high,
            marker=marker,
            s=60 if len(x) <= 500 else 16,
            edgecolors="black",
            linewidths=0.5,
            label=label,
        )
    # Names are names: a dollar in one begins no formula.
    axes.set_xlabel(names[0], parse_math=False)
    axes.set_ylabel(names[1], parse_math=False)
    axes.set_title(title, parse_math=False)
    axes.grid(visible=True, alpha=0.3)
    axes.set_axisbelow(True)
    if points is not None:
        figure.colorbar(points, ax=axes, label="prediction")
    if groups and groups[0][0]:
        legend = figure.legend(loc="outside lower center", ncols=min(4, len(groups)))
        for text in legend.get_texts():
            text.set_parse_math(False)
        for handle in legend.legend_handles:
            # The colour of a class's first row would say nothing of the class.
            if handle is not None:
                handle.set(array=None, facecolor="white")
