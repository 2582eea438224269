"""What can be asked of a run by name: facts (`status`), metrics (`val_auc`), settings
(`optimizer.name`).

Owns: the names, their values, what an unknown name is told. Does not own: what is asked (`query`), how
a value looks (`tables`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from trainer.config.nodes import join_key, parse_key
from trainer.errors import Problem, RunError, UsageError, did_you_mean
from trainer.report.settings import Value, read_settings, value_at
from trainer.report.text import pluralize
from trainer.runs.directory import RunDirectory
from trainer.runs.listing import RunSummary

FACTS = ("status", "name", "run", "epochs", "best_epoch", "started", "seconds", "age")
"""Facts by name: `run` is the path, `started` in ISO 8601 and UTC, `seconds` from start to end, `age`
the seconds since the start."""

_PREFIXES = {"validation": "val"}
_LOOKED_INTO = 20
_MOST_NAMES = 5000


@dataclass(frozen=True)
class RunValues:
    """A run and what was asked of it.

    Attributes:
        run: The run.
        values: Name → value: its facts and metrics, and of the settings those that were asked for.
            What it does not have is left out.
        unread: Why its settings could not be read, when they were asked for.
    """

    run: RunSummary
    values: Mapping[str, Value]
    unread: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestedName:
    """A name, and where on the command line it stands: `--sort`."""

    where: str
    name: str


def metric_key(split: str, metric: str) -> str:
    """The name of a metric of a split: val_auc, test_auc."""
    return f"{_PREFIXES[split] if split in _PREFIXES else split}_{metric}"


def metric_names(runs: Sequence[RunSummary]) -> dict[str, str]:
    """The metrics that any of the runs has: val_auc → auc."""
    pairs = dict.fromkeys(
        (split, metric)
        for run in runs
        for split, metrics in run.metrics.items()
        for metric in metrics
    )
    return {metric_key(split, metric): metric for split, metric in pairs}


def read_run_values(
    runs: Sequence[RunSummary], asked: Sequence[RequestedName], now: datetime
) -> list[RunValues]:
    """The runs with the values that are asked for. Configs are read where a setting is asked for.

    A config that cannot be read is a problem of its run, which then has no settings.

    Raises:
        UsageError: There are runs, and none has a value of one of the names.
    """
    known = [RunValues(run, {**measured(run), **_facts(run, now)}) for run in runs]
    return with_requested_values(known, asked, FACTS, "run")


def with_requested_values(
    known: Sequence[RunValues], asked: Sequence[RequestedName], facts: Sequence[str], noun: str
) -> list[RunValues]:
    """What is known, with the requested settings; configs are read only where there are some.

    Args:
        known: Of each run, what is known without its config.
        asked: The requested names.
        facts: Names that any run can have, whether one of these has it or not.
        noun: What the runs are called.

    Raises:
        UsageError: As in `read_run_values`.
    """
    runs = [one.run for one in known]
    have = dict.fromkeys(
        (*facts, *metric_names(runs), *(key for one in known for key in one.values))
    )
    rest = [one for one in dict.fromkeys(asked) if one.name not in have]
    keys = {one.name: key for one in rest if (key := parse_key(one.name)) is not None}
    found = list(known)
    if keys:
        found = [_with_settings(one, keys) for one in known]
        have.update(dict.fromkeys(name for one in found for name in one.values))
    unknown = [one for one in rest if one.name not in have]
    if unknown and runs:
        names = [*have, *islice(_setting_names(runs), _MOST_NAMES)]
        raise UsageError(_unknown(one, names, facts, pluralize(len(runs), noun)) for one in unknown)
    return found


def _facts(run: RunSummary, now: datetime) -> dict[str, Value]:
    facts: dict[str, Value] = {"status": run.status, "name": run.name, "run": str(run.path)}
    if run.started is not None:
        with suppress(OverflowError):  # a damaged time at the edge of the calendar
            facts["started"] = run.started.astimezone(UTC).isoformat()
        facts["age"] = (now - run.started).total_seconds()
    manifest = run.manifest
    if manifest is not None:
        facts["epochs"] = manifest.epochs
        if manifest.best_epoch is not None:
            facts["best_epoch"] = manifest.best_epoch
        ended = now if run.status == "running" else manifest.ended
        if ended is not None:
            facts["seconds"] = (ended - manifest.started).total_seconds()
    return facts


def measured(run: RunSummary) -> dict[str, Value]:
    """The metrics of a run that have a value: val_auc → 0.9."""
    return {
        metric_key(split, metric): value
        for split, metrics in run.metrics.items()
        for metric, value in metrics.items()
        if value is not None and math.isfinite(value)
    }


def _with_settings(known: RunValues, keys: Mapping[str, tuple[str, ...]]) -> RunValues:
    run, values = known.run, dict(known.values)
    if not run.path.is_dir():
        return known  # a trial that was not kept
    try:
        settings = read_settings(RunDirectory(run.path))
    except RunError as error:
        damaged = replace(run, problems=(*run.problems, *error.problems))
        return RunValues(damaged, values, error.problems)
    for name, steps in keys.items():
        with suppress(KeyError):
            values[name] = value_at(settings, steps)
    return RunValues(run, values)


def _setting_names(runs: Sequence[RunSummary]) -> Iterator[str]:
    """The settings of the first runs, as dotted keys; a thousand configs take too long to read."""
    for run in runs[:_LOOKED_INTO]:
        with suppress(RunError):
            yield from _keys(read_settings(RunDirectory(run.path)))


def _keys(settings: Value, steps: tuple[str, ...] = ()) -> Iterator[str]:
    if steps:
        yield join_key(steps)
    match settings:
        case dict():
            for key, value in settings.items():
                yield from _keys(value, (*steps, key))
        case list():
            for index, value in enumerate(settings):
                yield from _keys(value, (*steps, str(index)))


def _unknown(
    asked: RequestedName, names: Sequence[str], facts: Sequence[str], listed: str
) -> Problem:
    # These take pydantic and the whole schema along: a tenth of a second, here alone.
    from trainer.config.matching import keys_by_name
    from trainer.config.suggestions import suggest_key

    above, _, last = asked.name.rpartition(".")
    parts = [(name, *name.rpartition(".")) for name in reversed(names)]
    beside = {ending: name for name, parent, _, ending in parts if parent == above}
    elsewhere = {**keys_by_name(), **{ending: name for name, _, _, ending in parts}}
    near = suggest_key(last, list(beside), elsewhere)
    if near is not None:
        fix = f"did you mean '{beside[near] if near in beside else near}'?"
    else:
        fix = did_you_mean(asked.name, names)
    return Problem(
        where=asked.where,
        expected=f"a fact, metric or setting of the {listed} listed",
        found=f"'{asked.name}'",
        fix=fix
        or f"the facts are {', '.join(facts)}; a metric is val_auc, a setting "
        "optimizer.learning_rate",
    )
