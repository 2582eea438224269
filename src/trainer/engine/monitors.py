"""State of the best epoch, early stopping and learning-rate reduction on a plateau.

Each is updated once per epoch with `update`; `Monitors.state` and `Monitors.restore` save and restore
all of them. There is no clock: the same metrics give the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trainer.config.metrics import better_direction
from trainer.config.resolve import resolved_monitor
from trainer.config.schema import EarlyStopping, Fit, ReduceOnPlateau
from trainer.errors import pluralize

Direction = Literal["higher", "lower"]


def improves(value: float, best: float, direction: Direction, min_delta: float = 0.0) -> bool:
    """Return whether `value` is better than `best` by more than `min_delta`; False for NaN."""
    if math.isnan(value):
        return False
    return value > best + min_delta if direction == "higher" else value < best - min_delta


def worst(direction: Direction) -> float:
    """Return the infinity that any finite value improves on."""
    return -math.inf if direction == "higher" else math.inf


@dataclass(slots=True)
class BestEpochState:
    """The best epoch so far.

    Attributes:
        direction: Whether higher or lower values are better.
        value: Monitored value of that epoch; infinite before the first epoch.
        epoch: Number of that epoch, from 1; 0 before the first epoch.
    """

    direction: Direction
    value: float
    epoch: int = 0

    @classmethod
    def start(cls, direction: Direction) -> BestEpochState:
        return cls(direction, worst(direction))

    def restart(self) -> None:
        """Forget all epochs so far."""
        self.value, self.epoch = worst(self.direction), 0

    def update(self, epoch: int, value: float) -> bool:
        """Update with an epoch; return whether it is the best so far."""
        if not improves(value, self.value, self.direction):
            return False
        self.value, self.epoch = value, epoch
        return True


@dataclass(slots=True)
class PatienceCounter:
    """Counter of epochs without improvement, for early stopping and learning-rate reduction.

    Attributes:
        best: The value to improve on.
        waited: Epochs without improvement.
        cooldown: Remaining epochs of the cooldown, which are not counted.
    """

    best: float
    waited: int = 0
    cooldown: int = 0

    def update(self, value: float, direction: Direction, min_delta: float) -> int:
        """Update with an epoch's value; return the number of epochs without improvement."""
        if self.cooldown > 0:
            self.cooldown -= 1
            self.waited = 0
        if improves(value, self.best, direction, min_delta):
            self.best, self.waited = value, 0
        elif self.cooldown == 0:
            self.waited += 1
        return self.waited


@dataclass(slots=True)
class EarlyStoppingState:
    """State of early stopping, with Keras's counting (keras.callbacks.EarlyStopping)."""

    settings: EarlyStopping
    direction: Direction
    patience: PatienceCounter

    @classmethod
    def start(cls, settings: EarlyStopping, direction: Direction) -> EarlyStoppingState:
        return cls(settings, direction, PatienceCounter(worst(direction)))

    def update(self, epoch: int, value: float) -> str | None:
        """Update with an epoch; return why training should stop, or None."""
        if epoch < self.settings.start_epoch:
            return None
        self.patience.update(value, self.direction, self.settings.min_delta)
        return self.reason()

    def reason(self) -> str | None:
        """Return why training should stop after the epochs so far, or None."""
        waited = self.patience.waited
        if waited < self.settings.patience:
            return None
        return f"{self.settings.monitor} has not improved for {pluralize(waited, 'epoch')}"


@dataclass(slots=True)
class ReduceLROnPlateauState:
    """State of learning-rate reduction, with Keras's counting (keras.callbacks.ReduceLROnPlateau)."""

    settings: ReduceOnPlateau
    direction: Direction
    patience: PatienceCounter

    @classmethod
    def start(cls, settings: ReduceOnPlateau, direction: Direction) -> ReduceLROnPlateauState:
        return cls(settings, direction, PatienceCounter(worst(direction)))

    def update(self, value: float, learning_rate: float) -> float:
        """Update with an epoch; return the learning rate of the next one."""
        waited = self.patience.update(value, self.direction, self.settings.min_delta)
        if waited < self.settings.patience or learning_rate <= self.settings.min_learning_rate:
            return learning_rate
        self.patience.cooldown, self.patience.waited = self.settings.cooldown, 0
        return max(learning_rate * self.settings.factor, self.settings.min_learning_rate)


@dataclass(slots=True)
class Monitors:
    """All monitors of one run."""

    best: BestEpochState
    early_stopping: EarlyStoppingState | None
    reduce_lr: ReduceLROnPlateauState | None

    @classmethod
    def start(cls, fit: Fit, *, has_validation: bool) -> Monitors:
        """Return the monitors that the config sets, before the first epoch."""
        stopping, reduce_lr = fit.early_stopping, fit.reduce_on_plateau
        return cls(
            best=BestEpochState.start(better_direction(resolved_monitor(fit, has_validation))),
            early_stopping=EarlyStoppingState.start(stopping, better_direction(stopping.monitor))
            if stopping
            else None,
            reduce_lr=ReduceLROnPlateauState.start(reduce_lr, better_direction(reduce_lr.monitor))
            if reduce_lr
            else None,
        )

    def state(self) -> dict[str, Any]:
        """Return the state as JSON values; an infinite value is None."""
        return {
            "best": {"value": _to_json(self.best.value), "epoch": self.best.epoch},
            "stopper": _patience_state(self.early_stopping),
            "plateau": _patience_state(self.reduce_lr),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore `state`; a monitor that is not in it keeps its initial state."""
        best = state["best"]
        self.best.value = _from_json(best["value"], self.best.direction)
        self.best.epoch = best["epoch"]
        for monitor, key in ((self.early_stopping, "stopper"), (self.reduce_lr, "plateau")):
            if monitor is not None and state[key] is not None:
                value = _from_json(state[key]["best"], monitor.direction)
                monitor.patience = PatienceCounter(**{**state[key], "best": value})


def _patience_state(
    monitor: EarlyStoppingState | ReduceLROnPlateauState | None,
) -> dict[str, Any] | None:
    if monitor is None:
        return None
    state = asdict(monitor.patience)
    return {**state, "best": _to_json(monitor.patience.best)}


def _to_json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _from_json(value: float | None, direction: Direction) -> float:
    return worst(direction) if value is None else value
