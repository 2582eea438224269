"""The pydantic schema of a config: names, types, defaults and descriptions of all settings.

This module has the root and the `fit`, `evaluate` and `runtime` sections; the others are in `data`,
`model`, `layers`, `optimizers`, `schedules`, `losses`, `sweeps` and `tracking`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from trainer.config.compress import Compress
from trainer.config.data import Data
from trainer.config.generation import Generation, Networks
from trainer.config.layers.custom import Custom
from trainer.config.losses import Loss, NamedLoss
from trainer.config.metrics import MetricName
from trainer.config.model import Model
from trainer.config.optimizers import DEFAULT_OPTIMIZER, Adam, Optimizer
from trainer.config.run_directories import RunDirectories
from trainer.config.sections import Interval, Section, ValueName, shorthand_for
from trainer.config.sweeps import Sweep
from trainer.config.tracking import Track
from trainer.config.translation import Decoding

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
MonitorName = Annotated[
    str,
    StringConstraints(pattern=r"^(val_)?[a-z][a-z0-9_]*$"),
    ValueName("a metric such as 'loss' or 'val_accuracy'", "metrics such as 'val_accuracy'"),
]
"""A monitored quantity: `loss` or a metric, of the validation rows with the prefix `val_`."""


class EarlyStopping(Section):
    """Stop training when a metric no longer improves."""

    monitor: MonitorName = "val_loss"
    """Metric to monitor."""
    patience: Count = 10
    """Number of epochs without improvement after which training stops."""
    min_delta: NonNegative = 0.0
    """Minimum change that counts as an improvement."""
    start_epoch: Count = 1
    """Number of the first epoch that is monitored."""
    restore_best: bool = True
    """Evaluate the weights of the best epoch; false: of the last epoch."""


class ReduceOnPlateau(Section):
    """Reduce the learning rate when a metric no longer improves."""

    monitor: MonitorName = "val_loss"
    """Metric to monitor."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Factor by which the learning rate is reduced."""
    patience: Count = 5
    """Number of epochs without improvement after which the learning rate is reduced."""
    min_delta: NonNegative = 0.0
    """Minimum change that counts as an improvement."""
    cooldown: Annotated[int, Field(ge=0)] = 0
    """Number of epochs after a reduction before monitoring resumes."""
    min_learning_rate: NonNegative = 0.0
    """Lower bound of the learning rate."""


class Checkpoint(Section):
    """Which checkpoints are written and kept."""

    every: Interval = "30 seconds"
    """How often the `last` and `best` checkpoints are written; less often if writing would take more
    than 5% of the time. Models that are trained together (repeats, folds, trials) are saved at the
    end of an epoch. Both checkpoints are always written when training ends or is stopped."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 2
    """Number of `last` checkpoints to keep: last, last-1, …; an earlier one is used if the last is
    damaged."""
    monitor: MonitorName | None = None
    """Metric that determines the best epoch; if unset, the one of early stopping, else the validation
    loss, else the training loss."""


class WarmStart(Section):
    """A run whose weights training starts from; layers are matched by name."""

    run: str
    """A run directory or checkpoint, relative to the config file."""
    partial: bool = False
    """true: layers that have another shape than in the run, or are not in it, start with new weights.
    false: they are errors, except for the output layer."""


class CustomCallback(Section):
    custom: Annotated[
        Custom, BeforeValidator(shorthand_for("function"), json_schema_input_type=Custom | str)
    ]
    """A user-defined function that returns a keras.callbacks.Callback."""


class OnNonfinite(Section):
    """What happens when the training loss is not finite."""

    action: Literal["stop", "rollback"] = "stop"
    """stop: the run fails and keeps its checkpoints. rollback: training returns to the start of the
    epoch with a lower learning rate."""
    max_rollbacks: Count = 3
    """Maximum number of rollbacks before the run fails."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Factor by which the learning rate is reduced at each rollback."""


class Fit(Section):
    """How the model is trained."""

    epochs: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Number of epochs; if unset, 100, unless `steps` is set."""
    steps: Count | None = None
    """Number of batches after which training ends, instead of `epochs`."""
    max_seconds: Positive | None = None
    """Maximum training time in seconds, startup included; for a resumed run, the epochs of earlier
    processes count too. The best epoch so far is then evaluated."""
    batch_size: Annotated[int, Field(ge=1, le=10_000_000)] = 32
    """Rows per batch."""
    batch_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Maximum number of tokens of a batch, with padding, instead of `batch_size` rows (task: translate).
    A batch has pairs of similar lengths, each counted by its longer text; padding that no text of a
    batch needs is cut off."""
    shuffle: bool = True
    """Shuffle the rows before each epoch; the order is a function of (seed, epoch)."""
    class_weight: Literal["balanced"] | dict[str, Positive] | None = None
    """Weight of each class in the loss: a mapping, or balanced: rows / (classes · rows of the class)."""
    early_stopping: (
        Annotated[
            EarlyStopping,
            BeforeValidator(
                shorthand_for("patience"), json_schema_input_type=EarlyStopping | Count
            ),
        ]
        | None
    ) = None
    """Stop training when a metric no longer improves; if unset, all epochs are run."""
    reduce_on_plateau: (
        Annotated[
            ReduceOnPlateau,
            BeforeValidator(
                shorthand_for("patience"), json_schema_input_type=ReduceOnPlateau | Count
            ),
        ]
        | None
    ) = None
    """Reduce the learning rate when a metric no longer improves."""
    on_nonfinite: Annotated[
        OnNonfinite,
        BeforeValidator(
            shorthand_for("action"),
            json_schema_input_type=OnNonfinite | Literal["stop", "rollback"],
        ),
    ] = OnNonfinite()
    """What happens when the training loss is not finite: stop or rollback."""
    checkpoint: Checkpoint = Checkpoint()
    callbacks: list[CustomCallback] = []
    """Custom Keras callbacks, called at the start and end of training and of each epoch; importing them
    needs --allow-custom. Callbacks with batch-level methods are rejected."""
    warm_start: (
        Annotated[
            WarmStart,
            BeforeValidator(shorthand_for("run"), json_schema_input_type=WarmStart | str),
        ]
        | None
    ) = None
    """A run directory or checkpoint, relative to the config file, whose weights training starts from:
    those of each layer of the same name. The output layer starts with new weights if its shape
    differs."""
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of models to train that differ in their seed only: in initialization, order of the rows
    and dropout. All have the same test rows; the first uses the config's `seed`, the others derived
    seeds."""
    folds: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Number of cross-validation folds, with one model for each: the rows outside the test set are
    divided into folds, and each fold is the validation set of one model (see `data.split.fold`).
    With `repeats`, that many models for each fold."""


class ThresholdCriterion(Section):
    """A threshold that is tuned on the validation rows."""

    criterion: Literal["f1", "youden", "cost", "precision"]
    """f1: maximize F1. youden: maximize recall + specificity. cost: minimize the cost of false
    positives and false negatives. precision: maximize recall at a minimum precision."""
    false_positive_cost: NonNegative = 1.0
    """cost: cost of a false positive."""
    false_negative_cost: NonNegative = 1.0
    """cost: cost of a false negative."""
    min_precision: Share = 0.9
    """precision: minimum precision."""


BaselineName = Literal["linear", "boosting"]


class Evaluate(Section):
    """How the model is evaluated and how probabilities become labels."""

    threshold: (
        Share
        | Annotated[
            ThresholdCriterion,
            BeforeValidator(
                shorthand_for("criterion"), json_schema_input_type=ThresholdCriterion | str
            ),
        ]
    ) = 0.5
    """Minimum probability of a positive prediction, or the criterion by which it is tuned on the
    validation rows. If it is tuned, the metrics of the epochs use 0.5."""
    calibrate: bool = False
    """Calibrate probabilities by temperature scaling, fitted on the validation rows."""
    decisions_from: str | None = None
    """A run directory whose threshold, temperature and interval widths are used instead of fitting them,
    for a model that is trained without validation rows. Relative to the config file."""
    confidence_level: Share = 0.95
    """Confidence level of the intervals of metrics."""
    prediction_interval: Share = 0.9
    """Coverage of prediction intervals (regression): the fraction of rows whose target lies within."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Number of bootstrap resamples for each confidence interval."""
    baselines: Literal["auto"] | list[BaselineName] = "auto"
    """Models that the report compares the network with, besides a constant prediction: linear,
    boosting (gradient boosting of scikit-learn). auto: linear, and boosting if scikit-learn is
    installed."""
    decoding: Annotated[
        Decoding,
        BeforeValidator(shorthand_for("beam"), json_schema_input_type=Decoding | Count),
    ] = Decoding()
    """task: translate: how texts are written, as the number of beams or a mapping."""
    slices: list[str] = []
    """Columns of the table, features or not, by whose values the report breaks down the metrics."""
    importance: Literal["auto"] | bool = "auto"
    """Compute permutation importance after training; auto: with the report, if it takes a few seconds at
    most."""
    report: bool = True
    """Write report.html after training."""


class Runtime(Section):
    """Hardware and execution settings."""

    engine: Literal["auto", "resident", "streaming"] = "auto"
    """Where the rows are kept during training. resident: all in device memory, the fastest.
    streaming: encoded in a file on disk (in TMPDIR, else /var/tmp) and prefetched in parts; shuffled
    by shard, and within a window of several shards; quantiles, such as the median, are computed from
    at most 1,000,000 training rows. auto: streaming if the table needs more than the free memory, at 24
    bytes per cell, 48 for text files, or if its encoded rows, at 4 bytes per cell, need more than half
    of the free GPU memory."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: the GPU if available."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras dtype policy; weights are always float32."""
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Number of intra-op threads; auto: one for small models, all cores for large ones."""
    jit_compile: Literal["auto"] | bool = "auto"
    """Compile training with XLA; auto: if it saves more time than compilation takes, and for models that
    are trained together; models with convolutions only on a GPU. Dropout and noise draw different random
    numbers with and without XLA."""


class Config(Section):
    """One experiment."""

    name: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"),
        ValueName("a name of at most 100 letters, digits, '.', '_' and '-'", "names"),
    ] = "run"
    """Name of the experiment, used for its run directories; if unset, the config file's name."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of initialization, shuffling, dropout, random changes of images, and splits (unless
    `data.split.seed` is set)."""
    data: Data
    model: Model = Model()
    optimizer: Optimizer = Adam(name=DEFAULT_OPTIMIZER)
    """The optimizer: its name, or its name and settings."""
    loss: NamedLoss = Loss()
    """The loss that training minimizes: its name, or its name and settings."""
    metrics: Literal["auto"] | list[MetricName] = "auto"
    """Metrics computed in each epoch and in evaluations, besides the loss; auto: by task."""
    networks: Networks | None = None
    """The two networks of task: generate, in place of `model`, `optimizer` and `loss`."""
    generation: Generation = Generation()
    fit: Fit = Fit()
    compress: Compress = Compress()
    evaluate: Evaluate = Evaluate()
    runtime: Runtime = Runtime()
    runs: RunDirectories = RunDirectories()
    sweep: Sweep | None = None
    """Which settings `trainer sweep` searches, and how; `trainer fit` ignores it."""
    track: Track = Track()
