"""Several runs side by side: summaries, differing settings, metrics with intervals, curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.config.yaml_writer import flow_text
from trainer.evaluation.bootstrap import paired_bootstrap as compare_answers
from trainer.evaluation.curves import roc_curve
from trainer.evaluation.metrics import COMPARED_METRICS, split_metric_name
from trainer.evaluation.predictions import Predictions
from trainer.models.ranking_metrics import roc_auc
from trainer.report.comparison import Comparison, Row
from trainer.report.comparison_tables import run_label
from trainer.report.decisions import common_label, read_decision_summary
from trainer.report.findings import Difference
from trainer.report.page.content import Block, Page, Plot, Prose, Section, grid, section
from trainer.report.page.facts import SPLITS, RunFacts
from trainer.report.page.figures import COLOURS, DASHES, SOFT, count_across
from trainer.report.page.metrics import difference_text, interval_text
from trainer.report.page.training import scale_loss, series, thinned
from trainer.report.tables import metric_text
from trainer.report.text import number, truncate

_DRAWN = 12
_NOTHING = "–"
_LONGEST = 80
_RESAMPLES = 500
_DRAWN_CELLS = 50_000_000


def several_page(comparison: Comparison, runs: Sequence[RunFacts]) -> Page:
    """The page of two runs or more, in the order in which they were named.

    Args:
        comparison: What differs.
        runs: The facts of the same runs.
    """
    sections = (_runs(runs), _differences(comparison), _metrics(runs), _curves(runs))
    others = (_facts(comparison),)
    return Page(
        f"{len(runs)} runs compared",
        (),
        tuple(one for one in (*sections, *others) if one.blocks),
    )


def side_by_side(
    comparison: Comparison, runs: Sequence[RunFacts], names: Sequence[str]
) -> Iterator[Block]:
    """Some runs side by side, as a part of another page.

    Args:
        comparison: What differs.
        runs: The facts of the same runs.
        names: What the runs are called there.
    """
    rows = [
        (run_label(place), name, str(facts.run.path))
        for place, (name, facts) in enumerate(zip(names, runs, strict=True))
    ]
    yield grid("", ("", "name", "run"), rows)
    for part in (_differences(comparison), _metrics(runs)):
        yield from part.blocks


def _runs(runs: Sequence[RunFacts]) -> Section:
    rows = []
    for place, facts in enumerate(runs):
        summary = facts.report.summary
        epochs = f"{summary.manifest.epochs:,}" if summary.manifest else _NOTHING
        sentence = facts.findings.sentence if facts.findings else ""
        label = run_label(place)
        rows.append((label, summary.name, str(facts.run.path), summary.status, epochs, sentence))
    blocks: list[Block] = [
        grid("", ("", "name", "run", "status", "epochs", "findings"), rows, right=(4,))
    ]
    for place, facts in enumerate(runs):
        blocks += [
            Prose(f"{run_label(place)}, damaged: {problem}", "warning")
            for problem in facts.problems
        ]
    return section("runs", "Runs", blocks)


def _differences(comparison: Comparison) -> Section:
    count = len(comparison.runs)
    if not comparison.settings:
        return section("settings", "Settings", [Prose("All settings are equal.")])
    rows = [(key, *_cells(row, count, flow_text)) for key, row in comparison.settings.items()]
    heads = ("setting", *map(run_label, range(count)))
    return section("settings", "Settings", [grid("Settings that differ", heads, rows)])


def _facts(comparison: Comparison) -> Section:
    count = len(comparison.runs)
    rows = [(key, *_cells(row, count, _words)) for key, row in comparison.facts.items()]
    heads = ("", *map(run_label, range(count)))
    title = "Differences in data, rows, packages and device"
    return section("facts", "Other differences", [grid(title, heads, rows)])


def _cells(row: Row, count: int, text: Callable[[Any], str]) -> Iterator[str]:
    """The values of one key as text, by the position of the run; a run without has a dash."""
    for place in range(count):
        yield truncate(text(row[place]), _LONGEST) if place in row else _NOTHING


def _words(value: Any) -> str:
    return value if isinstance(value, str) else flow_text(value)


def _metrics(runs: Sequence[RunFacts]) -> Section:
    return section("scores", "Metrics", _metric_blocks(runs))


def _metric_blocks(runs: Sequence[RunFacts]) -> Iterator[Block]:
    heads = ("metric", *map(run_label, range(len(runs))))
    labels = [read_decision_summary(facts.run).labels for facts in runs]
    for split in SPLITS:
        columns = [_measured(facts, split) for facts in runs]
        names = list(dict.fromkeys(name for column in columns for name in column))
        rows = [
            (common_label(labels, name), *(column.get(name, _NOTHING) for column in columns))
            for name in names
        ]
        title = f"{split.capitalize()} rows"
        yield grid(title, heads, rows, right=range(1, len(heads)), is_folded=split == "train")
    yield from _against_first(runs)


def _measured(facts: RunFacts, split: str) -> Mapping[str, str]:
    """Name → value with its interval, from the findings or else from `evaluation/`."""
    summary = facts.report.summary
    found = {
        name: metric_text(summary, split, name)
        for name in (*summary.metrics.get(split, {}), *summary.intervals.get(split, {}))
    }
    if facts.findings is not None and split in facts.findings.splits:
        of = facts.findings.splits[split].measures
        found |= {
            name: interval_text(measured)
            for name, measured in of.items()
            if not split_metric_name(name)[0]
        }
    return found


def _against_first(runs: Sequence[RunFacts]) -> Iterator[Block]:
    """The others' differences from the first, on the same bootstrap resamples of the rows."""
    first = runs[0]
    if first.task is None or first.split is None:
        return
    split = first.split
    # Those that the first run is compared with its baselines by, the headline first.
    own = () if first.findings is None else first.findings.compared
    names = own or COMPARED_METRICS[first.task]
    columns = [
        _difference(first, facts, split, names) if place else {} for place, facts in enumerate(runs)
    ]
    others = [place for place, column in enumerate(columns) if column]
    if not others:
        return
    yield Prose(
        "Differences are measured on the same bootstrap resamples of the rows; one whose interval "
        "contains 0 is marked as noise. The variation between seeds of one config is not included."
    )
    heads = ("metric", *(f"{run_label(place)} - A" for place in others))
    rows = [
        (name, *(difference_text(columns[place].get(name), name) for place in others))
        for name in names
    ]
    yield grid(f"Differences from A, {split} rows", heads, rows, right=range(1, len(heads)))


def _difference(
    first: RunFacts, facts: RunFacts, split: str, names: Sequence[str]
) -> dict[str, Difference]:
    if split not in facts.answers:
        return {}
    ours, theirs = facts.answers[split], first.answers[split]
    if not _are_comparable(ours, theirs):
        return {}
    found = compare_answers(
        ours,
        theirs,
        threshold=facts.threshold,
        other_threshold=first.threshold,
        names=names,
        resamples=max(100, min(_RESAMPLES, _DRAWN_CELLS // len(ours))),
    )
    return {
        name: Difference(one.value, one.low, one.high, one.is_noise)
        for name, one in found.items()
        if np.isfinite((one.value, one.low, one.high)).all()
    }


def _are_comparable(ours: Predictions, theirs: Predictions) -> bool:
    if (ours.task, ours.names, len(ours)) != (theirs.task, theirs.names, len(theirs)):
        return False
    mine, other = np.argsort(ours.rows, kind="stable"), np.argsort(theirs.rows, kind="stable")
    return bool(
        np.array_equal(ours.rows[mine], theirs.rows[other])
        and np.array_equal(ours.y[mine], theirs.y[other])
        and np.isfinite(ours.p).all()
        and np.isfinite(theirs.p).all()
    )


def _curves(runs: Sequence[RunFacts]) -> Section:
    return section("curves", "Curves", _curve_blocks(runs))


def _curve_blocks(runs: Sequence[RunFacts]) -> Iterator[Block]:
    if len(runs) > _DRAWN:
        yield Prose(f"Curves are drawn for the first {_DRAWN} runs.")
    for name in ("loss", "val_loss"):
        curves = [
            (run_label(place), *series(facts.report.history, name))
            for place, facts in enumerate(runs[:_DRAWN])
        ]
        drawn = [one for one in curves if len(one[2]) > 1]
        if drawn:
            yield _history_plot(name, drawn)
    rocs = [
        (run_label(place), facts.answers["test"])
        for place, facts in enumerate(runs[:_DRAWN])
        if facts.task == "binary" and "test" in facts.answers and _has_both(facts.answers["test"])
    ]
    if rocs:
        yield _roc_plot(rocs)


def _has_both(answers: Predictions) -> bool:
    return 0 < answers.y.sum() < len(answers) and bool(np.isfinite(answers.p).all())


def _history_plot(name: str, curves: Sequence[tuple[str, Any, Any]]) -> Plot:
    def draw(axes: Any) -> None:
        for place, (label, epochs, values) in enumerate(curves):
            look = {"color": COLOURS[place % 6], "linestyle": DASHES[(place + place // 6) % 6]}
            axes.plot(*thinned(epochs, values), label=label, linewidth=1.2, **look)
        scale_loss(axes, [values for _, _, values in curves])
        count_across(axes, "epoch")
        axes.legend(loc="upper right", ncols=2)

    words = "; ".join(
        f"{label} minimum {number(float(values.min()))}, last {number(float(values[-1]))}"
        for label, _, values in curves
    )
    title = f"{name} by epoch"
    return Plot(f"curves-{name.replace('_', '-')}", title, f"{title}: {words}.", draw)


def _roc_plot(runs: Sequence[tuple[str, Predictions]]) -> Plot:
    areas = [roc_auc(one.y[:, 0], one.p[:, 0], one.weight) for _, one in runs]

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.8, linestyle=":")
        for place, ((label, one), area) in enumerate(zip(runs, areas, strict=True)):
            curve = roc_curve(one.y[:, 0], one.p[:, 0], one.weight, 200)
            look = {"color": COLOURS[place % 6], "linestyle": DASHES[(place + place // 6) % 6]}
            text = f"{label} ({number(area)})"
            axes.plot(curve.x, curve.y, label=text, linewidth=1.2, **look)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.legend(loc="lower right")

    words = "; ".join(
        f"{label} {number(area)}" for (label, _), area in zip(runs, areas, strict=True)
    )
    title = "ROC curves, test rows (area under the curve)"
    return Plot("roc", title, f"ROC curves of the test rows. Area: {words}.", draw)
