"""Contradictions in the `track` section.

Owns: which stores MLflow has. Does not own: whether one answers, which only a run finds out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict
from trainer.config.schema import Config
from trainer.config.tracking import TensorBoard
from trainer.errors import did_you_mean

_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks", "file")
_URI = "track.mlflow.uri"


def tracking_conflicts(config: Config) -> Iterator[Conflict]:
    """What speaks against the trackers of a config."""
    board, store = config.track.tensorboard, config.track.mlflow
    epochs = config.fit.epochs
    if isinstance(board, TensorBoard) and board.histograms is not None and epochs is not None:
        every = int(board.histograms.split()[0])
        if every > epochs:
            yield conflict(
                "track.tensorboard.histograms",
                f"an interval within the training: at most {epochs} epochs",
                f"'{board.histograms}'",
                "make it smaller, or take it out",
                "fit.epochs",
            )
    if store is None:
        return
    scheme, separator, rest = store.uri.partition("://")
    name = scheme.partition("+")[0]
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) and name not in _SCHEMES:
        fix = did_you_mean(name, _SCHEMES, "a folder is written without '://'")
        expected = f"a store that MLflow has: {', '.join(_SCHEMES)}, or a folder"
        yield conflict(_URI, expected, f"'{scheme}://'", fix)
    elif separator and not rest.strip("/") and name != "databricks":
        yield conflict(_URI, f"what follows '{scheme}://'", "nothing", "name a file or a host")
    elif name == "sqlite" and rest.strip("/").startswith(":memory:"):
        fix = "name a file: sqlite:///mlflow.db"
        yield conflict(_URI, "a database that is there after the run", f"'{store.uri}'", fix)
