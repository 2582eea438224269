"""The `sweep` section: which settings are searched, and how; and what its unset settings mean.

Owns: the section. Does not own: how a list or a range is written (`domains`), how trials are chosen
(`trainer.sweep`).
"""

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
"""Settings that a Sobol sequence covers at most."""
DEFAULT_TRIALS = 64
"""Trials of a search that would not end of itself."""
MAX_GRID = 100_000
"""Most points of a grid."""

if TYPE_CHECKING:
    Value = Any
else:
    # To the shapes of the schema it is a leaf, of which they ask no more than whether it takes a value.
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
# The same as `schema.MonitorName`, which stands above this module.
Objective = Annotated[
    str,
    StringConstraints(pattern=r"^(val_)?[a-z][a-z0-9_]*$"),
    ValueName("a measure such as 'val_auc' or 'val_loss'", "measures such as 'val_auc'"),
]
_EPOCHS = re.compile(r"^([1-9]\d{0,7}) epochs?$")
Epochs = Annotated[
    str,
    StringConstraints(pattern=_EPOCHS.pattern),
    ValueName("a length in epochs such as '3 epochs'", "lengths such as '3 epochs'"),
]
_KEEP = re.compile(r"^(all|best:([1-9]\d{0,7}))$")
Keep = Annotated[
    str,
    StringConstraints(pattern=_KEEP.pattern),
    ValueName("'all', or 'best:5' for so many", "'all' or 'best:5'"),
]
SearchName = Literal["grid", "random", "sobol", "tpe"]


class Halving(Section):
    """End the worse trials early, by successive halving."""

    first: Epochs = "3 epochs"
    """After so many epochs the worse trials are ended for the first time; then after `factor` times as
    many, and so on."""
    factor: Annotated[int, Field(ge=2, le=1000)] = 3
    """Of the trials that are trained together, one in so many goes on each time."""


class Sweep(Section):
    """Which settings `trainer sweep` searches, and how."""

    space: dict[str, SearchedValues] = {}
    """Setting (`optimizer.learning_rate`, `model.layers.0.dense.units`) → a list of values, or a text:
    log(1e-4, 1e-1), uniform(0, 0.5), int(16, 256), int(16, 256, log), or a,b,c. Between braces such a
    text stands in quotes."""
    pairs: list[dict[str, Values]] = []
    """Settings that change together: groups of setting → list, the lists of a group equally long. A
    trial takes the first value of each list of a group, or the second of each, and so on."""
    when: dict[str, ConditionText] = {}
    """Searched setting → the condition under which it is set, with == or !=, as `optimizer.momentum:
    optimizer.name == sgd`. Where it does not hold, the setting is left as the config has it."""
    search: Literal["auto", "grid", "random", "sobol", "tpe"] = "auto"
    """grid: every combination, the last setting changes fastest. random: drawn independently. sobol:
    spread evenly, by a scrambled Sobol sequence. tpe: drawn near what did well, by Optuna (needs the
    `sweep` extra). auto: grid where all are lists and there are no more combinations than trials, else
    sobol, beyond 32 settings random."""
    trials: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """The number of trials; unset, all of a grid, else 64, or until `max_seconds` are over. No
    settings are trained twice: where there are fewer combinations, there are fewer trials."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """What the search draws with; unset, the config's `seed`."""
    objective: Objective | None = None
    """The measure of the validation rows that trials are compared by, at its best epoch, as `val_auc`;
    it takes the place of `fit.checkpoint.monitor`. Unset, the measure that says which epoch is best."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """The sweep ends after this many seconds of training; where it was resumed, those that earlier
    processes spent count too. The trials that are trained then end with what they have."""
    keep: Keep = "all"
    """Which trials' run directories are kept: all, or those of the best so many, as best:5."""
    halving: (
        Annotated[
            Halving,
            BeforeValidator(shorthand_for("first"), json_schema_input_type=Halving | Epochs),
        ]
        | None
    ) = None
    """End the worse trials early, by successive halving; unset, all are trained to their end."""


def parse_epochs(length: str) -> int:
    """`"3 epochs"` → 3."""
    match = _EPOCHS.match(length)
    assert match is not None, length
    return int(match[1])


def kept_trials(keep: str) -> int | None:
    """How many of the best trials' directories are kept: `"best:5"` → 5; None for all."""
    match = _KEEP.match(keep)
    assert match is not None, keep
    return None if match[2] is None else int(match[2])


def sweep_dimensions(sweep: Sweep) -> tuple[Dimension, ...]:
    """What is searched: the space, then the pairs, in the config's order. The section is valid."""
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
    """Searched setting → its condition. The section is valid."""
    found = {}
    for key, text in sweep.when.items():
        condition = parse_condition(text)
        assert not isinstance(condition, Problem), condition
        found[key] = condition
    return found


def grid_points(sweep: Sweep) -> int | None:
    """Combinations of all lists, conditions left out of account; None where there is a range."""
    domains = [dimension.domain for dimension in sweep_dimensions(sweep)]
    lists = [domain for domain in domains if isinstance(domain, Choices)]
    return math.prod(len(each.values) for each in lists) if len(lists) == len(domains) else None


def resolved_search(sweep: Sweep) -> SearchName:
    """The kind of search, never "auto"."""
    if sweep.search != "auto":
        return sweep.search
    points = grid_points(sweep)
    if points is not None and (sweep.trials is None or points <= sweep.trials):
        return "grid"
    return "sobol" if len(sweep_dimensions(sweep)) <= SOBOL_DIMENSIONS else "random"


def resolved_trials(sweep: Sweep) -> int | None:
    """How many trials there are at most; None for all of a grid, or until time is over."""
    if (
        sweep.trials is not None
        or resolved_search(sweep) == "grid"
        or sweep.max_seconds is not None
    ):
        return sweep.trials
    return DEFAULT_TRIALS
