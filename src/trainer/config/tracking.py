"""The `track` section: logging of a run to TensorBoard and MLflow."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from trainer.config.sections import Section, ValueName

Epochs = Annotated[
    str,
    StringConstraints(pattern=r"^([1-9]\d*) epochs?$"),
    ValueName("a number of epochs such as '5 epochs'", "numbers of epochs such as '5 epochs'"),
]
"""A number of epochs: "5 epochs"."""


class TensorBoard(Section):
    """TensorBoard event files, in the folder `tensorboard` of the run."""

    histograms: Epochs | None = None
    """How often weight histograms are written; if unset, never."""


class MLflow(Section):
    """Logging to an MLflow tracking store."""

    uri: Annotated[
        str,
        StringConstraints(pattern=r"^\S(.*\S)?$"),
        ValueName(
            "an address such as 'sqlite:///mlflow.db' or 'http://127.0.0.1:5000', or a folder",
            "addresses such as 'sqlite:///mlflow.db'",
        ),
    ]
    """Tracking URI: sqlite:///file, http://host:port, another database, or a folder. Files and
    folders are relative to the config file."""
    experiment: (
        Annotated[
            str,
            StringConstraints(pattern=r"^\S(.{0,248}\S)?$"),
            ValueName("a name of at most 250 characters", "names"),
        ]
        | None
    ) = None
    """Name of the MLflow experiment, created if missing; if unset, the config's `name`."""


class Track(Section):
    """Experiment trackers to which a run is logged."""

    tensorboard: bool | TensorBoard = False
    """Log metrics, learning rate and hyperparameters for TensorBoard, in the folder `tensorboard` of the
    run; needs the `tensorboard` extra."""
    mlflow: MLflow | None = None
    """Log settings, metrics, files and the model to MLflow; needs the `mlflow` extra."""
