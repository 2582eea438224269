"""Queries on lists of runs: `--where`, `--sort` and `--columns`.

--where    a filter; may be given several times
--sort     NAME, or -NAME for the reverse order
--columns  NAME,NAME…
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainer.config.yaml_writer import flow_text
from trainer.errors import Problem, UsageError
from trainer.report.filters import NAME, RunFilter, check_comparable, matches_filter, parse_filter
from trainer.report.run_values import RequestedName, RunValues, metric_names, read_run_values
from trainer.report.settings import Value
from trainer.runs.listing import RunSummary

_COLUMN = re.compile(rf"\s*({NAME})\s*(?:,|$)")


@dataclass(frozen=True, slots=True)
class SortOrder:
    """The `--sort` option: the value to sort by, and whether to reverse the order."""

    name: str
    reverse: bool


@dataclass(frozen=True, slots=True)
class Query:
    """The options of a query; by default all runs in their order."""

    where: tuple[RunFilter, ...] = ()
    sort: SortOrder | None = None
    columns: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names in the query without duplicates: of columns, the sort key and filters."""
        sort = () if self.sort is None else (self.sort.name,)
        filters = (condition.name for condition in self.where)
        return tuple(dict.fromkeys((*self.columns, *sort, *filters)))


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected runs in order, and the problems of configs that could not be read."""

    runs: tuple[RunValues, ...]
    config_problems: tuple[Problem, ...]


def parse_query(where: Sequence[str], sort: str | None, columns: str | None) -> Query:
    """Parse the options of the command line.

    Raises:
        UsageError: Options that cannot be parsed; lists all of them.
    """
    parsed = [*map(parse_filter, where), _parse_order(sort), _parse_columns(columns)]
    problems = [part for part in parsed if isinstance(part, Problem)]
    if problems:
        raise UsageError(problems)
    return Query(
        where=tuple(part for part in parsed if isinstance(part, RunFilter)),
        sort=next((part for part in parsed if isinstance(part, SortOrder)), None),
        columns=next(part for part in parsed if isinstance(part, tuple)),
    )


def select(runs: Sequence[RunSummary], query: Query, now: datetime) -> Selection:
    """Select the runs that match all filters, in the requested order.

    Metrics are sorted from the best value, others in ascending order; runs without a value come last.
    Without `--sort` the order is unchanged.

    Raises:
        UsageError: No run has a value for a name, or a value cannot be compared with the operand.
    """
    return select_from(
        read_run_values(runs, list(requested_names(query)), now), query, metric_names(runs)
    )


def select_from(runs: Sequence[RunValues], query: Query, metrics: Mapping[str, str]) -> Selection:
    """Select from runs whose values have been read.

    Args:
        runs: The runs with all values that the query names.
        query: The filters, order and columns.
        metrics: The names that are metrics: val_auc → auc.

    Raises:
        UsageError: A value cannot be compared with the operand of a filter.
    """
    problems = [
        problem for condition in query.where if (problem := check_comparable(condition, runs))
    ]
    if problems:
        raise UsageError(problems)
    selected = [
        run for run in runs if all(matches_filter(run, condition) for condition in query.where)
    ]
    if query.sort is not None:
        selected = _sorted(selected, query.sort, metrics)
    return Selection(
        tuple(selected), tuple(problem for run in runs for problem in run.config_problems)
    )


def _parse_order(text: str | None) -> SortOrder | Problem | None:
    if text is None:
        return None
    name = text.removeprefix("-").strip()
    if not name:
        fix = "for example --sort val_auc"
        return Problem("--sort", "NAME, or -NAME for the reverse order", f"'{text}'", fix)
    return SortOrder(name, reverse=text.startswith("-"))


def _parse_columns(text: str | None) -> tuple[str, ...] | Problem:
    if text is None:
        return ()
    names: list[str] = []
    position = 0
    while position < len(text) or not names:
        match = _COLUMN.match(text, position)
        if match is None:
            fix = "for example --columns run,val_auc,optimizer.learning_rate"
            return Problem("--columns", "names separated by commas", f"'{text}'", fix)
        names.append(match[1])
        position = match.end()
    return tuple(dict.fromkeys(names))


def requested_names(query: Query) -> Iterator[RequestedName]:
    """Yield the names in a query, each with its option."""
    yield from (
        RequestedName(f"--where '{condition.text}'", condition.name) for condition in query.where
    )
    if query.sort is not None:
        yield RequestedName("--sort", query.sort.name)
    yield from (RequestedName("--columns", name) for name in query.columns)


def _sorted(
    runs: Sequence[RunValues], order: SortOrder, metrics: Mapping[str, str]
) -> list[RunValues]:
    name = order.name
    descending = (name in metrics and _higher_is_better(metrics[name])) != order.reverse
    without = [run for run in runs if run.values.get(name) is None]
    having = [run for run in runs if run.values.get(name) is not None]
    having.sort(key=lambda run: _sort_key(run.values[name]), reverse=descending)
    return [*having, *without]


def _sort_key(value: Value) -> tuple[int, float, str]:
    """Sort numbers first, then strings, then other values."""
    if isinstance(value, int | float):
        return 0, value, ""
    return (1, 0.0, value) if isinstance(value, str) else (2, 0.0, flow_text(value))


def _higher_is_better(metric: str) -> bool:
    # Imports pydantic, 0.1 s: only if runs are sorted by a metric.
    from trainer.config.metrics import better_direction

    try:
        return better_direction(metric) == "higher"
    except KeyError:
        return False  # a metric of another version, or an untrusted file
