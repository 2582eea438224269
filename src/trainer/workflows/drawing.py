"""The scatter plot of a run's predictions over its two features.

Owns: which rows and columns are drawn, and whether they can be. The picture is in
`trainer.report.scatter`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.config.schema import Config
from trainer.data.prepare import PreparedTable
from trainer.data.samples import Samples
from trainer.data.values import number_matrix
from trainer.errors import Problem
from trainer.report.scatter import draw_scatter
from trainer.workflows.question import Question

_KEY = "evaluate.scatter"


def scatter_problems(config: Config, prepared: PreparedTable) -> Iterator[Problem]:
    """Why the plot that the config asks for cannot be drawn; nothing if it can or is not asked for."""
    if not config.evaluate.scatter:
        return
    columns = prepared.preprocessing.columns
    if len(columns) != 2 or any(column.kind != "numeric" for column in columns):
        kinds = ", ".join(f"{column.name} ({column.kind})" for column in columns[:5])
        yield Problem(
            "",
            "two numeric features to draw the predictions over",
            f"{len(columns)}: {kinds}{', …' if len(columns) > 5 else ''}",
            "choose two with data.features.include, or set evaluate.scatter: false",
            _KEY,
        )
    if prepared.preprocessing.target.width > 1:
        yield Problem(
            "",
            "one number a row to draw: two classes or one number",
            f"a {prepared.preprocessing.target.task} target",
            "set evaluate.scatter: false",
            _KEY,
        )
    if find_spec("matplotlib") is None:
        fix = "pip install 'trainer[plots]', or set evaluate.scatter: false"
        yield Problem("", "matplotlib, to draw with", "it is not installed", fix, _KEY)


def draw_predictions(
    path: Path,
    prepared: PreparedTable,
    question: Question,
    samples: Samples,
    outputs: NDArray[np.float32],
) -> None:
    """Draw raw outputs for samples, over the two features as they stand in the table."""
    names = [column.name for column in prepared.preprocessing.columns]
    rows = prepared.table.frame.select(names)[samples.rows]
    features = number_matrix(prepared.preprocessing.with_numbers(rows), names)
    truth = question.answers(samples.y)[:, 0]
    target = question.target
    if target.classes:
        truth = np.asarray(target.classes)[truth.astype(np.int64)]
        title = f"probability of {target.columns[0]} = {target.classes[1]}"
    else:
        title = f"predicted {target.columns[0]}"
    draw_scatter(
        path,
        features,
        question.answers(outputs)[:, 0],
        truth,
        names=(names[0], names[1]),
        title=title,
    )
