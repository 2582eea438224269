"""The `sweep` section: which settings are searched and how, with the defaults of its unset settings."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetPydanticSchema, StringConstraints
from pydantic_core import core_schema

from trainer.config.conditions import SweepCondition, parse_condition
from trainer.config.domains import Choices, Dimension, Domain, parse_domain
from trainer.config.sections import Section, ValueName, shorthand_for
from trainer.errors import Problem

SOBOL_DIMENSIONS = 32
"""Maximum number of settings of a Sobol sequence."""
DEFAULT_TRIALS = 64
"""Default number of trials of a search without a natural end."""
MAX_GRID = 100_000
"""Maximum number of points of a grid."""

if TYPE_CHECKING:
    Value = Any
else:
    # For the specs of the schema it is a scalar that accepts any value.
    Value = Annotated[
        str,
        GetPydanticSchema(lambda _source, _handler: core_schema.any_schema()),
        ValueName("any value", "values"),
    ]
Values = Annotated[list[Value], Field(min_length=1)]
SearchedValues = (
    Values
    | Annotated[
        str,
        ValueName(
            "a range such as log(1e-4, 1e-1), or values such as a,b,c",
            "ranges such as log(1e-4, 1e-1), or values such as a,b,c",
        ),
    ]
)
ConditionText = Annotated[
    str,
    ValueName(
        "a condition such as 'optimizer.name == sgd'",
        "conditions such as 'optimizer.name == sgd'",
    ),
]
# The same as `schema.MonitorName`, which this module cannot import.
Objective = Annotated[
    str,
    StringConstraints(pattern=r"^(val_)?[a-z][a-z0-9_]*$"),
    ValueName("a metric such as 'val_auc' or 'val_loss'", "metrics such as 'val_auc'"),
]
_EPOCHS = re.compile(r"^([1-9]\d{0,7}) epochs?$")
Epochs = Annotated[
    str,
    StringConstraints(pattern=_EPOCHS.pattern),
    ValueName("a duration in epochs such as '3 epochs'", "durations such as '3 epochs'"),
]
_KEEP = re.compile(r"^(all|best:([1-9]\d{0,7}))$")
Keep = Annotated[
    str,
    StringConstraints(pattern=_KEEP.pattern),
    ValueName("'all', or for example 'best:5'", "'all' or 'best:5'"),
]
SearchName = Literal["grid", "random", "sobol", "tpe"]


class Halving(Section):
    """Stop the worst trials early by successive halving."""

    first: Epochs = "3 epochs"
    """Length of the first rung, after which the worst trials are stopped; each following rung is
    `factor` times as long."""
    factor: Annotated[int, Field(ge=2, le=1000)] = 3
    """One of this many trials continues after each rung."""


class Sweep(Section):
    """Which settings `trainer sweep` searches, and how."""

    space: dict[str, SearchedValues] = {}
    """Setting (`optimizer.learning_rate`, `model.layers.0.dense.units`) → a list of values or a
    string: log(1e-4, 1e-1), uniform(0, 0.5), int(16, 256), int(16, 256, log), or a,b,c. Quote such
    strings inside braces."""
    pairs: list[dict[str, Values]] = []
    """Settings that change together: groups of setting → list, with lists of equal length in a
    group. A trial uses the first value of each list, or the second of each, and so on."""
    when: dict[str, ConditionText] = {}
    """Searched setting → the condition under which it is set, with == or !=: `optimizer.momentum:
    optimizer.name == sgd`. Otherwise the setting keeps its value in the config."""
    search: Literal["auto", "grid", "random", "sobol", "tpe"] = "auto"
    """grid: all combinations, the last setting changes fastest. random: independent draws. sobol: a
    scrambled Sobol sequence. tpe: tree-structured Parzen estimator of Optuna (needs the `sweep`
    extra). auto: grid if all settings have lists and there are no more combinations than trials,
    else sobol, or random for more than 32 settings."""
    trials: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Number of trials; if unset, all points of a grid, else 64, or until `max_seconds` have passed. No
    combination is trained twice, so there are at most as many trials as combinations."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Seed of the search; if unset, the config's `seed`."""
    objective: Objective | None = None
    """Validation metric by which trials are compared, at its best epoch, such as `val_auc`; it replaces
    `fit.checkpoint.monitor`. If unset, the metric that determines the best epoch."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Maximum training time of the sweep in seconds, including that of earlier processes for a
    resumed sweep. Running trials then end with their current state."""
    keep: Keep = "all"
    """Which trials' run directories are kept: all, or the best ones, such as best:5."""
    halving: (
        Annotated[
            Halving,
            BeforeValidator(shorthand_for("first"), json_schema_input_type=Halving | Epochs),
        ]
        | None
    ) = None
    """Stop the worst trials early by successive halving; if unset, all trials are trained to the end."""


def parse_epochs(length: str) -> int:
    """Return the number of epochs: `"3 epochs"` → 3."""
    match = _EPOCHS.match(length)
    assert match is not None, length
    return int(match[1])


def kept_trials(keep: str) -> int | None:
    """Return how many of the best trials' directories are kept: `"best:5"` → 5; None for all."""
    match = _KEEP.match(keep)
    assert match is not None, keep
    return None if match[2] is None else int(match[2])


def sweep_dimensions(sweep: Sweep) -> tuple[Dimension, ...]:
    """Return the dimensions of a valid section: the space, then the pairs, in the config's order."""
    single = [Dimension((key,), _domain(value)) for key, value in sweep.space.items()]
    return (*single, *(_together(group) for group in sweep.pairs))


def _domain(value: list[Any] | str) -> Domain:
    domain = parse_domain(value)
    assert not isinstance(domain, Problem), domain
    return domain


def _together(group: dict[str, list[Any]]) -> Dimension:
    if len(group) == 1:
        ((key, values),) = group.items()
        return Dimension((key,), Choices(tuple(values)))
    return Dimension(tuple(group), Choices(tuple(zip(*group.values(), strict=True))))


def sweep_conditions(sweep: Sweep) -> dict[str, SweepCondition]:
    """Return searched setting → its condition, for a valid section."""
    conditions = {}
    for key, text in sweep.when.items():
        condition = parse_condition(text)
        assert not isinstance(condition, Problem), condition
        conditions[key] = condition
    return conditions


def grid_points(sweep: Sweep) -> int | None:
    """Return the number of combinations of all lists, ignoring conditions; None if there is a range."""
    domains = [dimension.domain for dimension in sweep_dimensions(sweep)]
    lists = [domain for domain in domains if isinstance(domain, Choices)]
    return (
        math.prod(len(choices.values) for choices in lists) if len(lists) == len(domains) else None
    )


def resolved_search(sweep: Sweep) -> SearchName:
    """Return the kind of search, never "auto"."""
    if sweep.search != "auto":
        return sweep.search
    points = grid_points(sweep)
    if points is not None and (sweep.trials is None or points <= sweep.trials):
        return "grid"
    return "sobol" if len(sweep_dimensions(sweep)) <= SOBOL_DIMENSIONS else "random"


def resolved_trials(sweep: Sweep) -> int | None:
    """Return the maximum number of trials; None for all points of a grid, or until time runs out."""
    if (
        sweep.trials is not None
        or resolved_search(sweep) == "grid"
        or sweep.max_seconds is not None
    ):
        return sweep.trials
    return DEFAULT_TRIALS
