from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import TypeAdapter

from trainer.config.schedules import Schedule
from trainer.models.schedules import ScheduledRate

SECTION: TypeAdapter[Any] = TypeAdapter(Schedule)
PEAK, STEPS_PER_EPOCH, TOTAL = 0.5, 10, 100
STEPS = (
    *range(12),
    *range(12, 120, 7),
    *(s + d for s in (30, 40, 55, 70, 100) for d in (-1, 0, 1)),
)
"""Steps around the ends of warmups, epochs and cycles, and some between them."""
schedules = keras.optimizers.schedules


def rate(schedule: Any, total: int = TOTAL) -> ScheduledRate:
    return ScheduledRate(PEAK, SECTION.validate_python(schedule), STEPS_PER_EPOCH, total)


def wave(progress: float, final: float = 0.0) -> float:
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


def cycles(first: int, factor: float) -> Iterator[tuple[int, float, float]]:
    """Yield (number, begin, length) of each cycle."""
    begin, length, number = 0.0, float(first), 0
    while True:
        yield number, begin, length
        begin, length, number = begin + length, length * factor, number + 1


def restarted(t: float, first: int, factor: float, peak_factor: float, final: float) -> float:
    for number, begin, length in cycles(first, factor):
        if t < begin + length - 1e-9:
            return peak_factor**number * wave((t - begin) / length, final)
    raise AssertionError


EXPECTED: list[tuple[Any, Callable[[int], float]]] = [
    ({"constant": "2 epochs"}, lambda s: min(s / 20, 1)),
    ({"inverse_square_root": "2 epochs"}, lambda s: min(s / 20, math.sqrt(20 / max(s, 20)))),
    ("cosine", lambda s: wave(s / 100)),
    ({"cosine": "40 steps"}, lambda s: wave(s / 40)),
    (
        {"cosine": {"warmup": "1 epochs", "final": 0.1}},
        lambda s: s / 10 if s < 10 else wave((s - 10) / 90, 0.1),
    ),
    (
        {"cosine_restarts": {"first": "1 epoch", "factor": 1.0, "peak_factor": 0.5}},
        lambda s: restarted(s, 10, 1.0, 0.5, 0.0),
    ),
    (
        {"cosine_restarts": {"first": "1 epoch", "final": 0.2, "warmup": "7 steps"}},
        lambda s: s / 7 if s < 7 else restarted(s - 7, 10, 2.0, 1.0, 0.2),
    ),
    (
        {"cosine_restarts": {"first": "7 steps", "factor": 1.5, "peak_factor": 0.9}},
        lambda s: restarted(s, 7, 1.5, 0.9, 0.0),
    ),
    ({"exponential": {"every": "2 epochs", "factor": 0.3}}, lambda s: 0.3 ** (s / 20)),
    (
        {
            "exponential": {
                "every": "7 steps",
                "factor": 0.3,
                "staircase": True,
                "warmup": "5 steps",
            }
        },
        lambda s: s / 5 if s < 5 else 0.3 ** ((s - 5) // 7),
    ),
    ({"inverse_time": {"every": "1 epoch", "rate": 2.0}}, lambda s: 1 / (1 + 2 * s / 10)),
    (
        {"inverse_time": {"every": "7 steps", "rate": 2.0, "staircase": True}},
        lambda s: 1 / (1 + 2 * (s // 7)),
    ),
    ("polynomial", lambda s: max(1 - s / 100, 0)),
    (
        {"polynomial": {"over": "3 epochs", "power": 2.0, "final": 0.1, "warmup": "4 steps"}},
        lambda s: s / 4 if s < 4 else 0.1 + 0.9 * max(1 - (s - 4) / 30, 0) ** 2,
    ),
    (
        {"piecewise": {"at": ["3 epochs", "55 steps"], "factors": [0.1, 0.01]}},
        lambda s: 1 if s < 30 else 0.1 if s < 55 else 0.01,
    ),
    (
        {"piecewise": {"at": ["30 steps"], "factors": [0.1], "warmup": "1 epoch"}},
        lambda s: s / 10 if s < 10 else 1 if s < 30 else 0.1,
    ),
]


def name_of(value: Any) -> str:
    """Return a reproducible test id; the text of a function would contain its address."""
    return "" if callable(value) else str(value)


@pytest.mark.parametrize(("schedule", "factor"), EXPECTED, ids=name_of)
def test_learning_rate_equals_its_formula(schedule: Any, factor: Callable[[int], float]) -> None:
    built = rate(schedule)
    steps = STEPS
    rates = [float(built(step)) for step in steps]
    np.testing.assert_allclose(rates, [PEAK * factor(step) for step in steps], rtol=1e-6, atol=1e-9)


def test_every_schedule_is_tested() -> None:
    named = {type(SECTION.validate_python(schedule)).__name__ for schedule, _ in EXPECTED}
    assert len(named) == 8


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (
            {"cosine": {"over": "40 steps", "final": 0.1, "warmup": "10 steps"}},
            schedules.CosineDecay(0.0, 40, alpha=0.1, warmup_target=PEAK, warmup_steps=10),
        ),
        (
            {"cosine_restarts": {"first": "9 steps", "factor": 3.0, "peak_factor": 0.7}},
            schedules.CosineDecayRestarts(PEAK, 9, t_mul=3.0, m_mul=0.7),
        ),
        (
            {"exponential": {"every": "9 steps", "factor": 0.7}},
            schedules.ExponentialDecay(PEAK, 9, 0.7),
        ),
        (
            {"inverse_time": {"every": "9 steps", "rate": 0.7}},
            schedules.InverseTimeDecay(PEAK, 9, 0.7),
        ),
        (
            {"polynomial": {"over": "50 steps", "power": 3.0, "final": 0.2}},
            schedules.PolynomialDecay(PEAK, 50, PEAK * 0.2, power=3.0),
        ),
    ],
    ids=name_of,
)
def test_schedule_matches_keras(schedule: Any, expected: Any) -> None:
    built = rate(schedule)
    # At the start of a cycle (9, 36, 117), Keras rounds either way.
    for step in set(STEPS) - {9, 36, 117}:
        assert float(built(step)) == pytest.approx(float(expected(step)), rel=1e-5, abs=1e-7)


def test_restart_is_at_the_right_batch() -> None:
    built = rate({"cosine_restarts": {"first": "10 steps"}}, total=10**6)
    for start in (10 * (2**k - 1) for k in range(17)):
        assert float(built(start)) == pytest.approx(PEAK)
        assert float(built(start - 1)) < PEAK or start == 0


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in EXPECTED], ids=str)
def test_schedule_can_be_serialized(schedule: Any) -> None:
    built = rate(schedule)
    text = json.dumps(keras.saving.serialize_keras_object(built))
    restored = keras.saving.deserialize_keras_object(json.loads(text))
    assert restored.get_config() == built.get_config()
    steps = [0, 4, 10, 59, 99]
    rates = [restored(step) for step in steps]
    assert [float(rate) for rate in rates] == [float(built(step)) for step in steps]
    assert all(rate.dtype == "float32" for rate in rates)


def test_schedules_compile_with_xla() -> None:
    rates = [rate(schedule) for schedule, _ in EXPECTED]

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def all_of(step: Any) -> Any:
        return tf.stack([schedule(step) for schedule in rates])

    for step in (0, 9, 30, 101):
        values = all_of(tf.constant(step, dtype=tf.int64)).numpy()
        np.testing.assert_allclose(values, [float(rate(step)) for rate in rates], rtol=1e-5)


def test_warmup_as_long_as_training() -> None:
    built = rate({"cosine": {"warmup": "10 epochs"}})
    assert float(built(50)) == pytest.approx(PEAK / 2)
    assert float(built(99)) == pytest.approx(PEAK * 0.99)
    longer = rate({"polynomial": {"warmup": "20 epochs"}})
    assert float(longer(99)) == pytest.approx(PEAK * 99 / 200)
