"""Conflicts in the `track` section. Whether an MLflow store is reachable is only checked at run time."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict
from trainer.config.schema import Config
from trainer.config.tracking import TensorBoard
from trainer.errors import did_you_mean, pluralize

_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks", "file")
_URI = "track.mlflow.uri"


def tracking_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield conflicts of the trackers."""
    tensorboard, mlflow = config.track.tensorboard, config.track.mlflow
    epochs = config.fit.epochs
    if (
        isinstance(tensorboard, TensorBoard)
        and tensorboard.histograms is not None
        and epochs is not None
    ):
        every = int(tensorboard.histograms.split()[0])
        if every > epochs:
            yield conflict(
                "track.tensorboard.histograms",
                f"an interval of at most {pluralize(epochs, 'epoch')}, the length of training",
                f"'{tensorboard.histograms}'",
                "lower it, or remove it",
                "fit.epochs",
            )
    if mlflow is None:
        return
    scheme, separator, rest = mlflow.uri.partition("://")
    name = scheme.partition("+")[0]
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) and name not in _SCHEMES:
        fix = did_you_mean(name, _SCHEMES, "use a folder path, without '://'")
        expected = f"a store that MLflow supports: {', '.join(_SCHEMES)}, or a folder"
        yield conflict(_URI, expected, f"'{scheme}://'", fix)
    elif separator and not rest.strip("/") and name != "databricks":
        yield conflict(_URI, f"a file or a host after '{scheme}://'", "nothing", "add it")
    elif name == "sqlite" and rest.strip("/").startswith(":memory:"):
        fix = "name a file: sqlite:///mlflow.db"
        yield conflict(_URI, "a database that persists after the run", f"'{mlflow.uri}'", fix)
