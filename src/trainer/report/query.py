"""Which of many runs, in which order, with which columns: `--where`, `--sort`, `--columns`.

    --where    a condition; may be given several times
    --sort     NAME, or -NAME for the other way round
    --columns  NAME,NAME…

Owns: the query and what it selects. Does not own: a condition (`conditions`), names and values
(`values`), the look of the answer (`tables`).
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
    """The `--sort`: by which value, and whether the other way round."""

    name: str
    reverse: bool


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a list of runs; nothing unless stated."""

    where: tuple[RunFilter, ...] = ()
    sort: SortOrder | None = None
    columns: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names in it, each once: columns, then what is sorted and chosen by."""
        sort = () if self.sort is None else (self.sort.name,)
        return tuple(dict.fromkeys((*self.columns, *sort, *(one.name for one in self.where))))


@dataclass(frozen=True, slots=True)
class Selection:
    """The runs that were asked for, in their order; and of all runs, why settings could not be read."""

    known: tuple[RunValues, ...]
    unread: tuple[Problem, ...]


def parse_query(where: Sequence[str], sort: str | None, columns: str | None) -> Query:
    """The query in the words of the command line.

    Raises:
        UsageError: Words have another form; with all that do.
    """
    found = [*map(parse_filter, where), _order(sort), _columns(columns)]
    problems = [one for one in found if isinstance(one, Problem)]
    if problems:
        raise UsageError(problems)
    return Query(
        where=tuple(one for one in found if isinstance(one, RunFilter)),
        sort=next((one for one in found if isinstance(one, SortOrder)), None),
        columns=next(one for one in found if isinstance(one, tuple)),
    )


def select(runs: Sequence[RunSummary], query: Query, now: datetime) -> Selection:
    """The runs that meet all conditions, in the order asked for: of a metric the better end first, of
    others the lower; those without a value come last. Without an order they stay in theirs.

    Raises:
        UsageError: A name that no run has a value of, or a value that it cannot be compared with.
    """
    return select_from(
        read_run_values(runs, list(requested_names(query)), now), query, metric_names(runs)
    )


def select_from(known: Sequence[RunValues], query: Query, metrics: Mapping[str, str]) -> Selection:
    """Select from runs whose values are known.

    Args:
        known: The runs, with all values that the query names.
        query: The conditions, order and columns.
        metrics: The names that are metrics: val_auc → auc.

    Raises:
        UsageError: A value cannot be compared with that of a condition.
    """
    problems = [problem for one in query.where if (problem := check_comparable(one, known))]
    if problems:
        raise UsageError(problems)
    chosen = [
        one for one in known if all(matches_filter(one, condition) for condition in query.where)
    ]
    if query.sort is not None:
        chosen = _sorted(chosen, query.sort, metrics)
    return Selection(tuple(chosen), tuple(problem for one in known for problem in one.unread))


def _order(text: str | None) -> SortOrder | Problem | None:
    if text is None:
        return None
    name = text.removeprefix("-").strip()
    if not name:
        fix = "write for example --sort val_auc"
        return Problem("--sort", "a name, or -NAME for the other way round", f"'{text}'", fix)
    return SortOrder(name, reverse=text.startswith("-"))


def _columns(text: str | None) -> tuple[str, ...] | Problem:
    if text is None:
        return ()
    names: list[str] = []
    place = 0
    while place < len(text) or not names:
        match = _COLUMN.match(text, place)
        if match is None:
            fix = "write for example --columns run,val_auc,optimizer.learning_rate"
            return Problem("--columns", "names with commas between them", f"'{text}'", fix)
        names.append(match[1])
        place = match.end()
    return tuple(dict.fromkeys(names))


def requested_names(query: Query) -> Iterator[RequestedName]:
    """The names in a query, each with its option."""
    yield from (RequestedName(f"--where '{one.text}'", one.name) for one in query.where)
    if query.sort is not None:
        yield RequestedName("--sort", query.sort.name)
    yield from (RequestedName("--columns", name) for name in query.columns)


def _sorted(
    known: Sequence[RunValues], order: SortOrder, metrics: Mapping[str, str]
) -> list[RunValues]:
    name = order.name
    descending = (name in metrics and _higher_is_better(metrics[name])) != order.reverse
    last = [one for one in known if one.values.get(name) is None]
    first = [one for one in known if one.values.get(name) is not None]
    return [*sorted(first, key=lambda one: _rank(one.values[name]), reverse=descending), *last]


def _rank(value: Value) -> tuple[int, float, str]:
    """Numbers, texts, others; each in its own order."""
    if isinstance(value, int | float):
        return 0, value, ""
    return (1, 0.0, value) if isinstance(value, str) else (2, 0.0, flow_text(value))


def _higher_is_better(metric: str) -> bool:
    # It takes pydantic along, a tenth of a second: only where runs are sorted by a metric.
    from trainer.config.objectives import better_direction

    try:
        return better_direction(metric) == "higher"
    except KeyError:
        return False  # of another version, or a stranger's
