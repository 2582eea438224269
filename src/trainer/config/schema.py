"""The config as one pydantic schema: the only truth about names, types, defaults and meanings.

Owns: the root and the `fit`, `evaluate` and `runtime` sections. `data`, `model`, `optimizer`,
`loss` and `metrics` are in modules of their names.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from trainer.config.data import Data
from trainer.config.layers import Custom, Model
from trainer.config.objectives import Loss, MetricName, NamedLoss
from trainer.config.optimizers import DEFAULT_OPTIMIZER, Adam, Optimizer
from trainer.config.sections import Interval, Section, ValueName, shorthand_for
from trainer.config.sweeps import Sweep
from trainer.config.tracking import Track

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
MonitorName = Annotated[
    str,
    StringConstraints(pattern=r"^(val_)?[a-z][a-z0-9_]*$"),
    ValueName("a measure such as 'loss' or 'val_accuracy'", "measures such as 'val_accuracy'"),
]
"""A measured quantity: `loss`, a metric, or either with `val_` before it."""


class EarlyStopping(Section):
    """Stop when a measure no longer improves."""

    monitor: MonitorName = "val_loss"
    """The measure that is watched."""
    patience: Count = 10
    """Epochs without improvement before training stops."""
    min_delta: NonNegative = 0.0
    """A smaller change is no improvement."""
    start_epoch: Count = 1
    """Epochs before this one are not counted."""
    restore_best: bool = True
    """Evaluate the weights of the best epoch; false: those of the last."""


class ReduceOnPlateau(Section):
    """Lower the learning rate when a measure no longer improves."""

    monitor: MonitorName = "val_loss"
    """The measure that is watched."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What the learning rate is multiplied by."""
    patience: Count = 5
    """Epochs without improvement before it is lowered."""
    min_delta: NonNegative = 0.0
    """A smaller change is no improvement."""
    cooldown: Annotated[int, Field(ge=0)] = 0
    """Epochs after a reduction that are not counted."""
    min_learning_rate: NonNegative = 0.0
    """The learning rate is not lowered below this."""


class Checkpoint(Section):
    """What is kept of training."""

    every: Interval = "30 seconds"
    """How often the last and the best state are written: less often where writing would take more than
    a twentieth of the time; those of networks that are trained together, as repeats, folds and trials
    are, at the end of an epoch. Both are always written at the end, and where training is stopped."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 2
    """So many last states are kept: last, last-1, …; an earlier one serves where the last is damaged."""
    monitor: MonitorName | None = None
    """The measure that says which epoch is best; unset, early stopping's, else the validation loss,
    else the training loss."""


class CustomCallback(Section):
    custom: Annotated[
        Custom, BeforeValidator(shorthand_for("function"), json_schema_input_type=Custom | str)
    ]
    """A function of the user's own that returns a keras.callbacks.Callback."""


class OnNonfinite(Section):
    """What is done when the training loss is not a finite number."""

    action: Literal["stop", "rollback"] = "stop"
    """stop: the run fails, its checkpoints stay. rollback: training returns to the start of the epoch
    with a lower learning rate."""
    max_rollbacks: Count = 3
    """Maximum number of rollbacks; after them the run fails."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What the learning rate is multiplied by each time."""


class Fit(Section):
    """How the network is trained."""

    epochs: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Passes over the training rows; unset, 100, unless `steps` is given."""
    steps: Count | None = None
    """Training ends after this many batches, in place of `epochs`."""
    max_seconds: Positive | None = None
    """Training ends after this many seconds, start-up included; where the run was resumed, the epochs
    that earlier processes trained count too. The best epoch so far is then evaluated."""
    batch_size: Annotated[int, Field(ge=1, le=10_000_000)] = 32
    """Rows a step."""
    shuffle: bool = True
    """Another order of the rows each epoch, a function of (seed, epoch)."""
    class_weight: Literal["balanced"] | dict[str, Positive] | None = None
    """Weight of each class in the loss: given by class, or balanced: rows / (classes · rows of the
    class)."""
    early_stopping: (
        Annotated[
            EarlyStopping,
            BeforeValidator(
                shorthand_for("patience"), json_schema_input_type=EarlyStopping | Count
            ),
        ]
        | None
    ) = None
    """Stop when a measure no longer improves; unset, all epochs are run."""
    reduce_on_plateau: (
        Annotated[
            ReduceOnPlateau,
            BeforeValidator(
                shorthand_for("patience"), json_schema_input_type=ReduceOnPlateau | Count
            ),
        ]
        | None
    ) = None
    """Lower the learning rate when a measure no longer improves."""
    on_nonfinite: Annotated[
        OnNonfinite,
        BeforeValidator(
            shorthand_for("action"),
            json_schema_input_type=OnNonfinite | Literal["stop", "rollback"],
        ),
    ] = OnNonfinite()
    """What is done when the training loss is not a finite number: stop, or rollback."""
    checkpoint: Checkpoint = Checkpoint()
    callbacks: list[CustomCallback] = []
    """Keras callbacks of your own, called at the start and the end of training and of each epoch;
    importing them needs --allow-custom. One that asks for batches is refused."""
    warm_start: str | None = None
    """A run directory or a checkpoint whose weights are taken, layer by layer where shapes fit.
    Relative to the config file."""
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    """Trains so many networks, which differ in their seed: in start, order of the rows and dropout. All
    have the same test rows; the first has the config's `seed`, the others seeds derived from it."""
    folds: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Trains one network a fold: the rows that are not tested are cut into so many folds, each of which
    validates one network and trains the others, as `data.split.fold` says. With `repeats`, so many
    networks a fold."""


class ThresholdAim(Section):
    """A threshold that is chosen on the validation rows."""

    criterion: Literal["f1", "youden", "cost", "precision"]
    """f1: the greatest F1. youden: the greatest sum of recall and specificity. cost: the least cost of
    false answers. precision: the greatest recall at the stated precision."""
    false_positive_cost: NonNegative = 1.0
    """cost: of calling a negative row positive."""
    false_negative_cost: NonNegative = 1.0
    """cost: of calling a positive row negative."""
    min_precision: Share = 0.9
    """precision: the least share of the rows called positive that are."""


class Evaluate(Section):
    """How answers are judged and become labels."""

    threshold: (
        Share
        | Annotated[
            ThresholdAim,
            BeforeValidator(shorthand_for("criterion"), json_schema_input_type=ThresholdAim | str),
        ]
    ) = 0.5
    """A row is called positive when its probability is at least this; or what it is chosen for, on the
    validation rows. Metrics of the epochs are taken at 0.5 where it is chosen."""
    calibrate: bool = False
    """Divide the logits by a temperature that is fitted on the validation rows, so that probabilities
    are as high as they are right."""
    decisions_from: str | None = None
    """A run directory whose threshold, temperature and interval widths are used, rather than chosen
    here: for a network that is trained without validation rows. Relative to the config file."""
    confidence_level: Share = 0.95
    """The share of repetitions in which an interval of a measure holds the true value."""
    prediction_interval: Share = 0.9
    """The share of rows whose number lies in the interval that is predicted for it (regression)."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Bootstrap resamples an interval is made of."""
    slices: list[str] = []
    """Columns of the table, features or not, by whose values the measures are told apart in the
    report."""
    importance: Literal["auto"] | bool = "auto"
    """Measure after training how much worse the answers are with each column shuffled; auto: with the
    report, where that takes no more than some seconds."""
    report: bool = True
    """Write report.html after training."""


class Runtime(Section):
    """What training runs on."""

    engine: Literal["auto", "resident", "streaming"] = "auto"
    """Where the rows are while training. resident: all in the memory of the device, the fastest.
    streaming: encoded in a file on disk (in TMPDIR, else /var/tmp) and read ahead of the device a part
    at a time; shuffled by shards, and within a window of some shards; quantiles, such as the median, are
    read off at most 1,000,000 training rows. auto: streaming when the table needs more memory than is
    free, at 24 bytes a cell, 48 in files of text, or its encoded rows, at 4 bytes a cell, more than half
    of the free memory of the GPU."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: the GPU if there is one."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """What is computed in; weights are always float32."""
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Threads inside one operation; auto: one for small networks, all cores for large ones."""
    jit_compile: Literal["auto"] | bool = "auto"
    """Compile training with XLA; auto: where that saves more than compiling takes, and in packs. Dropout
    and noise draw other numbers with it than without."""


class Config(Section):
    """One experiment."""

    name: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"),
        ValueName("a name of at most 100 letters, digits, '.', '_' and '-'", "names"),
    ] = "run"
    """The name its runs are kept under; unset, the config file's name."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Governs initialisation, order of the rows, dropout and splits, these unless `data.split.seed` is
    set."""
    data: Data
    model: Model = Model()
    optimizer: Optimizer = Adam(name=DEFAULT_OPTIMIZER)
    """How the weights are changed: an optimizer's name, or its name and settings."""
    loss: NamedLoss = Loss()
    """The loss that training makes small: its name, or its name and settings."""
    metrics: Literal["auto"] | list[MetricName] = "auto"
    """What is measured each epoch and in evaluations, besides the loss; auto: by task."""
    fit: Fit = Fit()
    evaluate: Evaluate = Evaluate()
    runtime: Runtime = Runtime()
    sweep: Sweep | None = None
    """Which settings `trainer sweep` searches, and how; `trainer fit` leaves it out of account."""
    track: Track = Track()
