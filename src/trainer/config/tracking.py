"""The `track` section: what else is told of a run while it trains.

Owns: the settings. Does not own: which of them contradict each other (`tracking_contradictions`), what
is written (`trainer.tracking`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from trainer.config.sections import Section, ValueName

Epochs = Annotated[
    str,
    StringConstraints(pattern=r"^([1-9]\d*) epochs?$"),
    ValueName("a number of epochs such as '5 epochs'", "numbers of epochs such as '5 epochs'"),
]
"""An interval in epochs: "5 epochs"."""


class TensorBoard(Section):
    """Event files that TensorBoard reads, in the run's folder `tensorboard`."""

    histograms: Epochs | None = None
    """How often histograms of the weights are written; unset, never."""


class MLflow(Section):
    """A run in an MLflow store."""

    uri: Annotated[
        str,
        StringConstraints(pattern=r"^\S(.*\S)?$"),
        ValueName(
            "an address such as 'sqlite:///mlflow.db' or 'http://127.0.0.1:5000', or a folder",
            "addresses such as 'sqlite:///mlflow.db'",
        ),
    ]
    """Where the store is: sqlite:///file, http://host:port, another database, or a folder. Files and
    folders are relative to the config file."""
    experiment: (
        Annotated[
            str,
            StringConstraints(pattern=r"^\S(.{0,248}\S)?$"),
            ValueName("a name of at most 250 characters", "names"),
        ]
        | None
    ) = None
    """The experiment that the run is one of, made where there is none; unset, the config's `name`."""


class Track(Section):
    """What else is told of a run while it trains."""

    tensorboard: bool | TensorBoard = False
    """Write measures, learning rate and hyperparameters for TensorBoard into the run's folder
    `tensorboard`; needs the `tensorboard` extra."""
    mlflow: MLflow | None = None
    """Log settings, measures, files and the model to an MLflow store; needs the `mlflow` extra."""
