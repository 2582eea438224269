"""Learning-rate schedules of the config as one Keras schedule.

Reduction on a plateau, which cannot be combined with a schedule, is in `trainer.engine.monitors`.
"""

from __future__ import annotations

import math
from typing import Any, Self, assert_never

import keras
from pydantic import TypeAdapter

from trainer.config.schedules import (
    CosineRestartsSchedule,
    CosineSchedule,
    ExponentialSchedule,
    InverseSquareRootSchedule,
    InverseTimeSchedule,
    PiecewiseSchedule,
    PolynomialSchedule,
    Schedule,
    Scheduled,
    WarmupSchedule,
)
from trainer.config.sections import duration_steps

_SCHEDULE: TypeAdapter[Schedule] = TypeAdapter(Schedule)
_RESTART_TOLERANCE = 1e-9
"""Fraction of a cycle that is tolerated as rounding error at a restart."""


@keras.saving.register_keras_serializable("trainer")
class ScheduledRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Learning rate of batch s = 0, 1, 2, … of training.

    With the peak r, the length w of the warm-up, t = s - w, u = min(t / over, 1), and f `final`:

    - warm-up, s < w: r · s / w
    - constant: r
    - cosine: r · (f + (1 - f) · ½ (1 + cos πu))
    - cosine_restarts: the same within a cycle; cycle k has length first · factorᵏ and starts at
      r · peak_factorᵏ
    - exponential: r · factor^(t / every)
    - inverse_time: r / (1 + rate · t / every)
    - polynomial: r · (f + (1 - f) · (1 - u)^power)
    - inverse_square_root: r · sqrt(w / s)
    - piecewise: r · the factor of the last boundary ≤ s. Boundaries count from the start of training,
      including the warm-up

    With staircase, t / every is rounded down. Beyond its length, a schedule keeps its final value.
    Lengths are in batches, even with gradient accumulation: Keras passes the number of batches, not of
    updates.

    Attributes:
        scale: Variable that scales every learning rate, 1 unless training lowers it.
    """

    def __init__(
        self,
        peak: float,
        schedule: Schedule | dict[str, Any],
        steps_per_epoch: int,
        total_steps: int,
    ) -> None:
        """Create the schedule.

        Args:
            peak: Learning rate of the config.
            schedule: The schedule, or its form in `get_config`.
            steps_per_epoch: Batches per epoch.
            total_steps: Batches of the whole training run.
        """
        self.peak = float(peak)
        self.schedule = _SCHEDULE.validate_python(schedule)
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps
        self.scale = keras.Variable(1.0, trainable=False, dtype="float32", name="scale")

    def __call__(self, step: Any) -> Any:
        """Return the float32 learning rate of an integer `step` (scalar tensor or number)."""
        # float64 represents step numbers and the end of a cycle exactly.
        batch = keras.ops.cast(step, "float64")
        warmup = self._warmup_steps()
        factor = self._factor(batch, keras.ops.maximum(batch - warmup, 0.0))
        if warmup:
            rise = keras.ops.minimum(batch / warmup, 1.0)
            factor = keras.ops.where(batch < warmup, rise, factor)
        return keras.ops.cast(self.peak * factor, "float32") * self.scale

    def get_config(self) -> dict[str, Any]:
        """Return the arguments for `from_config` as JSON values."""
        return {
            "peak": self.peak,
            "schedule": self.schedule.model_dump(),
            "steps_per_epoch": self.steps_per_epoch,
            "total_steps": self.total_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def _factor(self, batch: Any, after: Any) -> Any:
        """Return the factor of the peak at `batch`, which is `after` batches after the warm-up."""
        ops = keras.ops
        match self.schedule:
            case WarmupSchedule():
                return ops.ones_like(after)
            case CosineSchedule(cosine=cosine):
                progress = ops.minimum(after / self._over(cosine.over), 1.0)
                return cosine.final + (1 - cosine.final) * 0.5 * (1 + ops.cos(math.pi * progress))
            case CosineRestartsSchedule(cosine_restarts=restarts):
                cycle, progress = _cycle(after / self._steps(restarts.first), restarts.factor)
                cosine_decay = 0.5 * (1 + ops.cos(math.pi * progress))
                wave = restarts.final + (1 - restarts.final) * cosine_decay
                return ops.power(restarts.peak_factor, cycle) * wave
            case ExponentialSchedule(exponential=exponential):
                units = after / self._steps(exponential.every)
                units = ops.floor(units) if exponential.staircase else units
                return ops.power(exponential.factor, units)
            case InverseTimeSchedule(inverse_time=inverse):
                units = after / self._steps(inverse.every)
                units = ops.floor(units) if inverse.staircase else units
                return 1 / (1 + inverse.rate * units)
            case PolynomialSchedule(polynomial=polynomial):
                progress = ops.minimum(after / self._over(polynomial.over), 1.0)
                decay = ops.power(1 - progress, polynomial.power)
                return polynomial.final + (1 - polynomial.final) * decay
            case InverseSquareRootSchedule():
                warmup = self._warmup_steps()
                return ops.sqrt(warmup / ops.maximum(batch, float(warmup)))
            case PiecewiseSchedule(piecewise=piecewise):
                factor = ops.ones_like(after)
                for boundary, value in zip(piecewise.at, piecewise.factors, strict=True):
                    factor = ops.where(batch >= self._steps(boundary), value, factor)
                return factor
            case _:
                assert_never(self.schedule)

    def _settings(self) -> Scheduled:
        settings = getattr(self.schedule, next(iter(type(self.schedule).model_fields)))
        assert isinstance(settings, Scheduled)
        return settings

    def _steps(self, duration: str) -> int:
        return duration_steps(duration, self.steps_per_epoch)

    def _warmup_steps(self) -> int:
        warmup = self._settings().warmup
        return 0 if warmup is None else self._steps(warmup)

    def _over(self, over: str | None) -> int:
        if over is not None:
            return self._steps(over)
        # A warm-up as long as training leaves no batches for the decay.
        return max(self.total_steps - self._warmup_steps(), 1)


def _cycle(units: Any, factor: float) -> tuple[Any, Any]:
    """Return the cycle number and the progress in it, after `units` lengths of the first cycle."""
    ops = keras.ops
    if factor == 1:
        cycle = ops.floor(units + _RESTART_TOLERANCE)
        return cycle, ops.maximum(units - cycle, 0.0)
    # Cycles 0 … k - 1 take (factorᵏ - 1) / (factor - 1) lengths of the first cycle.
    done = ops.maximum(1 + units * (factor - 1), 1e-12)
    cycle = ops.floor(ops.log(done) / math.log(factor) + _RESTART_TOLERANCE)
    length = ops.power(factor, cycle)
    begin = (length - 1) / (factor - 1)
    return cycle, ops.clip((units - begin) / length, 0.0, 1.0)
