"""Base class and field types of the config's sections: durations, folds, shorthands."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints


class Section(BaseModel):
    """A mapping in the config: unknown keys are errors, types are not coerced, values are frozen."""

    model_config = ConfigDict(
        extra="forbid",
        # Only the root is validated; building it builds all other models once.
        defer_build=True,
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


@dataclass(frozen=True, slots=True)
class ValueName:
    """How messages describe a value whose type and bounds are not enough."""

    singular: str
    plural: str


def single_key(value: Any) -> str | None:
    """Return the tag of a one-key mapping (`{dense: {…}}` → "dense"), of a Section or of a bare name."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return next(iter(value)) if len(value) == 1 and isinstance(next(iter(value)), str) else None
    if isinstance(value, BaseModel):
        return next(iter(type(value).model_fields))
    return None


def name_to_mapping(value: Any) -> Any:
    """Expand a bare name to a one-key mapping without settings: "flatten" → {flatten: {}}."""
    return {value: {}} if isinstance(value, str) else value


def shorthand_for(key: str) -> Callable[[Any], Any]:
    """Return a validator that expands a scalar to a mapping with one key: `dense: 64` → {units: 64}."""

    def expand(value: Any) -> Any:
        if value is None:
            return {}
        return value if isinstance(value, dict | BaseModel) else {key: value}

    return expand


def null_to_mapping(value: Any) -> Any:
    """Expand null to an empty mapping: `flatten:` is `flatten: {}`."""
    return {} if value is None else value


_DURATION = re.compile(r"^([1-9]\d*) (epochs?|steps?)$")
_INTERVAL = re.compile(r"^([1-9]\d*) (epochs?|steps?|seconds?|minutes?)$")

Duration = Annotated[
    str,
    StringConstraints(pattern=_DURATION.pattern),
    ValueName(
        "a duration such as '5 epochs' or '200 steps'",
        "durations such as '5 epochs' or '200 steps'",
    ),
]
"""A length of training: "5 epochs" or "200 steps"."""

Interval = Annotated[
    str,
    StringConstraints(pattern=_INTERVAL.pattern),
    ValueName(
        "a duration such as '5 epochs', '200 steps', '30 seconds' or '2 minutes'",
        "durations such as '5 epochs', '200 steps', '30 seconds' or '2 minutes'",
    ),
]
"""A length of training or a time: "5 epochs", "200 steps", "30 seconds" or "2 minutes"."""


def duration_steps(duration: str, steps_per_epoch: int) -> int:
    """Return the number of optimizer steps in a `Duration`."""
    match = _DURATION.match(duration)
    assert match is not None, duration
    count = int(match[1])
    return count * steps_per_epoch if match[2].startswith("epoch") else count


def interval_parts(interval: str) -> tuple[int, str]:
    """Return an `Interval` as (count, unit), the unit in the singular: "30 seconds" → (30, "second")."""
    match = _INTERVAL.match(interval)
    assert match is not None, interval
    return int(match[1]), match[2].removesuffix("s")


_FOLD = re.compile(r"^([1-9]\d{0,2}|1000)/([2-9]|[1-9]\d{1,2}|1000)$")


def _check_fold(value: str) -> str:
    number, count = fold_parts(value)
    if number > count:
        raise ValueError("expected a fold k/n with k at most n")
    return value


Fold = Annotated[
    str,
    StringConstraints(pattern=_FOLD.pattern),
    AfterValidator(_check_fold),
    ValueName(
        "a fold k/n such as '2/5', k from 1 to n, n from 2 to 1,000",
        "folds such as '2/5'",
    ),
]
"""One cross-validation fold: "2/5" is the second of five."""


def fold_parts(fold: str) -> tuple[int, int]:
    """Return a `Fold` as (number from 1, number of folds): "2/5" → (2, 5)."""
    number, _, count = fold.partition("/")
    return int(number), int(count)


def _check_reference(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", value):
        raise ValueError("expected package.module:function")
    return value


Reference = Annotated[
    str,
    AfterValidator(_check_reference),
    ValueName("a function as package.module:function", "functions as package.module:function"),
]
"""A user-defined function, as `package.module:function`."""
