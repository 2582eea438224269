"""Values of a run by name: properties (`status`), metrics (`val_auc`), settings (`optimizer.name`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from trainer.config.nodes import join_key, parse_key
from trainer.errors import Problem, RunError, UsageError, did_you_mean, pluralize
from trainer.report.settings import Value, read_settings, value_at
from trainer.runs.directory import RunDirectory
from trainer.runs.listing import RunSummary

RUN_PROPERTIES = ("status", "name", "run", "epochs", "best_epoch", "started", "seconds", "age")
"""Names of properties: `run` is the path, `started` is in ISO 8601 and UTC, `seconds` is the duration,
`age` the seconds since the start."""

_PREFIXES = {"validation": "val"}
_MAX_CONFIGS = 20
_MAX_NAMES = 5000


@dataclass(frozen=True)
class RunValues:
    """A run with its values by name.

    Attributes:
        run: The run.
        values: Name → value: properties, metrics and the requested settings; without missing values.
        config_problems: Problems of its config, if settings were requested.
    """

    run: RunSummary
    values: Mapping[str, Value]
    config_problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestedName:
    """A name and the command-line option it comes from, such as `--sort`."""

    where: str
    name: str


def metric_key(split: str, metric: str) -> str:
    """Return the name of a metric of a split: val_auc, test_auc."""
    return f"{_PREFIXES[split] if split in _PREFIXES else split}_{metric}"


def metric_names(runs: Sequence[RunSummary]) -> dict[str, str]:
    """Return the metrics that any of the runs has: val_auc → auc."""
    pairs = dict.fromkeys(
        (split, metric)
        for run in runs
        for split, metrics in run.metrics.items()
        for metric in metrics
    )
    return {metric_key(split, metric): metric for split, metric in pairs}


def read_run_values(
    runs: Sequence[RunSummary], requested: Sequence[RequestedName], now: datetime
) -> list[RunValues]:
    """Read the requested values of the runs. Configs are read only if a setting is requested.

    A config that cannot be read is a problem of its run, which then has no settings.

    Raises:
        UsageError: There are runs, and none has a value for one of the names.
    """
    values = [RunValues(run, {**finite_metrics(run), **_run_properties(run, now)}) for run in runs]
    return with_requested_values(values, requested, RUN_PROPERTIES, "run")


def with_requested_values(
    runs: Sequence[RunValues],
    requested: Sequence[RequestedName],
    properties: Sequence[str],
    noun: str,
) -> list[RunValues]:
    """Add the requested settings; configs are read only if a setting is requested.

    Args:
        runs: The runs with the values that do not need the config.
        requested: The requested names.
        properties: Names that any run can have, even if none of these has a value.
        noun: What to call the runs.

    Raises:
        UsageError: There are runs, and none has a value for one of the names.
    """
    available = dict.fromkeys(
        (
            *properties,
            *metric_names([run.run for run in runs]),
            *(key for run in runs for key in run.values),
        )
    )
    missing = [request for request in dict.fromkeys(requested) if request.name not in available]
    keys = {
        request.name: key for request in missing if (key := parse_key(request.name)) is not None
    }
    completed = list(runs)
    if keys:
        completed = [_with_settings(run, keys) for run in runs]
        available.update(dict.fromkeys(name for run in completed for name in run.values))
    unknown = [request for request in missing if request.name not in available]
    if unknown and runs:
        names = [*available, *islice(_setting_names([run.run for run in runs]), _MAX_NAMES)]
        runs_text = pluralize(len(runs), noun)
        raise UsageError(
            _unknown_name(request, names, properties, runs_text) for request in unknown
        )
    return completed


def _run_properties(run: RunSummary, now: datetime) -> dict[str, Value]:
    properties: dict[str, Value] = {"status": run.status, "name": run.name, "run": str(run.path)}
    if run.started is not None:
        with suppress(OverflowError):  # a damaged date at the limit of the calendar
            properties["started"] = run.started.astimezone(UTC).isoformat()
        properties["age"] = (now - run.started).total_seconds()
    manifest = run.manifest
    if manifest is not None:
        properties["epochs"] = manifest.epochs
        if manifest.best_epoch is not None:
            properties["best_epoch"] = manifest.best_epoch
        ended = now if run.status == "running" else manifest.ended
        if ended is not None:
            properties["seconds"] = (ended - manifest.started).total_seconds()
    return properties


def finite_metrics(run: RunSummary) -> dict[str, Value]:
    """Return the metrics of a run that have a finite value: val_auc → 0.9."""
    return {
        metric_key(split, metric): value
        for split, metrics in run.metrics.items()
        for metric, value in metrics.items()
        if value is not None and math.isfinite(value)
    }


def _with_settings(run_values: RunValues, keys: Mapping[str, tuple[str, ...]]) -> RunValues:
    run, values = run_values.run, dict(run_values.values)
    if not run.path.is_dir():
        return run_values  # a trial that was not kept
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
    """Yield the settings of the first runs as dotted keys; reading a thousand configs is slow."""
    for run in runs[:_MAX_CONFIGS]:
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


def _unknown_name(
    request: RequestedName, names: Sequence[str], properties: Sequence[str], runs_text: str
) -> Problem:
    # Imports pydantic and the whole schema, 0.1 s: only for this message.
    from trainer.config.matching import keys_by_name
    from trainer.config.suggestions import suggest_key

    section, _, last = request.name.rpartition(".")
    parts = [(name, *name.rpartition(".")) for name in reversed(names)]
    siblings = {key: name for name, parent, _, key in parts if parent == section}
    elsewhere = {**keys_by_name(), **{key: name for name, _, _, key in parts}}
    suggestion = suggest_key(last, list(siblings), elsewhere)
    if suggestion is not None:
        suggestion = siblings[suggestion] if suggestion in siblings else suggestion
        fix = f"did you mean '{suggestion}'?"
    else:
        fix = did_you_mean(request.name, names)
    return Problem(
        where=request.where,
        expected=f"a property, metric or setting of the {runs_text}",
        found=f"'{request.name}'",
        fix=fix
        or f"properties are {', '.join(properties)}; metrics look like val_auc, "
        "settings like optimizer.learning_rate",
    )
