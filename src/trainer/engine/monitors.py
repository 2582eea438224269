"""What is decided from one epoch's measures: which epoch is best, when to stop, when to slow down.

Each decision is a small state with `update`; `state` and `restore` carry it over a restart. No
TensorFlow, no clock: the same measures give the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trainer.config.schema import EarlyStopping, ReduceOnPlateau

Direction = Literal["higher", "lower"]


def improves(value: float, best: float, direction: Direction, min_delta: float = 0.0) -> bool:
    """Whether `value` is better than `best` by more than `min_delta`; NaN never is."""
    if math.isnan(value):
        return False
    return value > best + min_delta if direction == "higher" else value < best - min_delta


def worst(direction: Direction) -> float:
    """The value that everything improves on."""
    return -math.inf if direction == "higher" else math.inf


@dataclass(slots=True)
class BestEpochState:
    """The best epoch so far.

    Attributes:
        direction: Which way is better.
        value: Its measure; infinite before the first epoch.
        epoch: Its number from 1; 0 before the first epoch.
    """

    direction: Direction
    value: float
    epoch: int = 0

    @classmethod
    def start(cls, direction: Direction) -> BestEpochState:
        return cls(direction, worst(direction))

    def update(self, epoch: int, value: float) -> bool:
        """Take in an epoch; true when it is the best so far."""
        if not improves(value, self.value, self.direction):
            return False
        self.value, self.epoch = value, epoch
        return True


@dataclass(slots=True)
class PatienceCounter:
    """Counts epochs without improvement; shared by early stopping and plateau.

    Attributes:
        best: The measure to improve on.
        waited: Epochs since it was reached.
        cooldown: Epochs that are still not counted.
    """

    best: float
    waited: int = 0
    cooldown: int = 0

    def update(self, value: float, direction: Direction, min_delta: float) -> int:
        """Take in an epoch's measure; the epochs waited so far."""
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
    """Early stopping."""

    settings: EarlyStopping
    direction: Direction
    patience: PatienceCounter

    @classmethod
    def start(cls, settings: EarlyStopping, direction: Direction) -> EarlyStoppingState:
        return cls(settings, direction, PatienceCounter(worst(direction)))

    def update(self, epoch: int, value: float) -> str | None:
        """Take in an epoch; the reason to stop, if there is one."""
        if epoch < self.settings.start_epoch:
            return None
        self.patience.update(value, self.direction, self.settings.min_delta)
        return self.reason()

    def reason(self) -> str | None:
        """Why training is to stop after the epochs taken in, if it is."""
        waited = self.patience.waited
        if waited < self.settings.patience:
            return None
        return f"{self.settings.monitor} has not improved for {waited} epochs"


@dataclass(slots=True)
class ReduceLROnPlateauState:
    """Learning-rate reduction, with Keras's counting (keras.callbacks.ReduceLROnPlateau)."""

    settings: ReduceOnPlateau
    direction: Direction
    patience: PatienceCounter

    @classmethod
    def start(cls, settings: ReduceOnPlateau, direction: Direction) -> ReduceLROnPlateauState:
        return cls(settings, direction, PatienceCounter(worst(direction)))

    def update(self, value: float, learning_rate: float) -> float:
        """Take in an epoch; the learning rate of the next one."""
        waited = self.patience.update(value, self.direction, self.settings.min_delta)
        if waited < self.settings.patience or learning_rate <= self.settings.min_learning_rate:
            return learning_rate
        self.patience.cooldown, self.patience.waited = self.settings.cooldown, 0
        return max(learning_rate * self.settings.factor, self.settings.min_learning_rate)


@dataclass(slots=True)
class Monitors:
    """All decisions of one run."""

    best: BestEpochState
    early_stopping: EarlyStoppingState | None
    reduce_lr: ReduceLROnPlateauState | None

    def state(self) -> dict[str, Any]:
        """What a restart needs, as JSON has it: the worst value there is is None."""
        return {
            "best": {"value": _finite(self.best.value), "epoch": self.best.epoch},
            "stopper": _patience_state(self.early_stopping),
            "plateau": _patience_state(self.reduce_lr),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; a decision that it does not know of begins."""
        best = state["best"]
        self.best.value = _value(best["value"], self.best.direction)
        self.best.epoch = best["epoch"]
        for decision, former in ((self.early_stopping, "stopper"), (self.reduce_lr, "plateau")):
            if decision is not None and state[former] is not None:
                value = _value(state[former]["best"], decision.direction)
                decision.patience = PatienceCounter(**{**state[former], "best": value})


def _patience_state(
    decision: EarlyStoppingState | ReduceLROnPlateauState | None,
) -> dict[str, Any] | None:
    if decision is None:
        return None
    state = asdict(decision.patience)
    return {**state, "best": _finite(decision.patience.best)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _value(value: float | None, direction: Direction) -> float:
    return worst(direction) if value is None else value
