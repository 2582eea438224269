"""Metrics with intervals beside the baselines, and errors: the worst slices and the worst rows.

The figures are those of `findings.json` and `evaluation/`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.evaluation.metrics import split_metric_name
from trainer.report.decisions import MetricLabels, read_decision_summary
from trainer.report.findings import (
    Difference,
    Findings,
    MetricValue,
    Slices,
    SplitFindings,
    WorstSlices,
    verdict,
)
from trainer.report.page.content import Block, Grid, Prose, Section, grid, section
from trainer.report.page.facts import SPLITS, RunFacts
from trainer.report.tables import metric_text
from trainer.report.text import format_with_interval, number, pluralize

_NOTHING = "–"
_MOST_PARTS = 100
_UNFOLDED_PARTS = 30
_SIGNIFICANT = 0.05
_AVERAGES = ("_micro", "_weighted")
_MOST_ANSWERS = 12
_SPLIT_TITLES = {
    "test": "Test rows",
    "validation": "Validation rows (used to choose the best epoch)",
    "train": "Training rows (seen in training)",
}


def scores(facts: RunFacts) -> Section:
    """The metrics of each split."""
    return section("scores", "Metrics", _scores(facts))


def _scores(facts: RunFacts) -> Iterator[Block]:
    findings = facts.findings
    if facts.members or findings is None:
        yield _evaluation(facts)
    if findings is None:
        return
    yield Prose(_how_to_read(facts, findings))
    labels = read_decision_summary(facts.run).labels
    for split in SPLITS:
        if split in findings.splits:
            of = findings.splits[split]
            title = f"{_SPLIT_TITLES[split]}: {of.rows:,}"
            is_folded = split != findings.last()
            yield measures_grid(of, title, findings.level, labels, is_folded=is_folded)
    last = findings.last()
    if last is not None:
        yield _averages(findings.splits[last], last, facts)
        yield _parts(findings.splits[last], last, facts)


def _how_to_read(facts: RunFacts, findings: Findings) -> str:
    level = f"{100 * findings.level:g}%"
    text = (
        f"Brackets hold {level} bootstrap confidence intervals: the range expected on other rows "
        "drawn from the same population."
    )
    if facts.members:
        text += " These metrics are of the ensemble: the mean of the networks' predictions for each row."
    if any(of.prior or of.linear for of in findings.splits.values()):
        prior = (
            "the mean of the training rows"
            if findings.task == "regression"
            else "the class frequencies of the training rows"
        )
        text += (
            f" There are two baselines: the prior, which predicts {prior} for every row, and a "
            "linear model. A difference whose interval contains 0 is marked as noise."
        )
    return text


def _evaluation(facts: RunFacts) -> Block:
    """The metrics in `evaluation/`; of a run with several networks, their mean."""
    run = facts.report.summary
    names = dict.fromkeys(name for metrics in run.metrics.values() for name in metrics)
    labels = read_decision_summary(facts.run).labels
    rows = [
        (labels.of(name), *(metric_text(run, split, name) for split in run.metrics))
        for name in names
    ]
    heads = ("metric", *run.metrics)
    title = "Metrics named in the config"
    if facts.members:
        title = f"Mean over {len(facts.members)} networks, with its 95% confidence interval"
    return grid(title, heads, rows, right=range(1, len(heads)))


def measures_grid(
    of: SplitFindings, title: str, level: float, labels: MetricLabels, *, is_folded: bool = False
) -> Grid:
    """The metrics of a split with intervals, beside the baselines where there are any."""
    names = [name for name in of.measures if _is_usual(name)]
    # Metrics that are compared with the baselines first.
    names.sort(key=lambda name: name not in of.over_prior)
    heads = ["metric", f"value [{100 * level:g}% interval]"]
    if of.prior or of.linear:
        heads += ["prior", "linear model", "difference from prior", "difference from linear model"]
    rows = []
    for name in names:
        measured = of.measures[name]
        row = [labels.of(name), interval_text(measured)]
        if len(heads) > 2:
            row += [number(of.prior.get(name)), number(of.linear.get(name))]
            row += [
                difference_text(over.get(name), name) for over in (of.over_prior, of.over_linear)
            ]
        rows.append(row)
    for place, (column, covered) in enumerate(of.covered.items()):
        if place < _MOST_PARTS:
            filler = [_NOTHING] * (len(heads) - 2)
            rows.append([f"interval coverage: {column}", interval_text(covered), *filler])
    if of.calibration_error is not None:
        filler = [_NOTHING] * (len(heads) - 2)
        rows.append(["expected calibration error", number(of.calibration_error), *filler])
    return grid(title, heads, rows, right=range(1, len(heads)), is_folded=is_folded)


def _is_usual(name: str) -> bool:
    """Whether a metric is of all classes, averaged in the default way."""
    return not split_metric_name(name)[0] and not name.endswith(_AVERAGES)


def interval_text(measured: MetricValue) -> str:
    """A value with its interval: 0.9650 [0.9300, 0.9900]."""
    return format_with_interval(measured.value, measured.low, measured.high)


def difference_text(difference: Difference | None, name: str) -> str:
    """A difference as text: +0.0120 [0.0010, 0.0230] better; noise where its interval contains 0."""
    if difference is None or difference.value is None:
        return _NOTHING
    ends = ""
    if difference.low is not None and difference.high is not None:
        ends = f" [{_plain(difference.low)}, {_plain(difference.high)}]"
    sign = "+" if difference.value > 0 else ""
    return f"{sign}{_plain(difference.value)}{ends} {verdict(difference, name)}"


def _plain(value: float) -> str:
    """A difference, small ones to the fourth decimal."""
    return f"{value:.4f}" if abs(value) < 1 else number(value)


def _averages(of: SplitFindings, split: str, facts: RunFacts) -> Grid:
    rows = [
        (name, interval_text(measured), number(of.prior.get(name)), number(of.linear.get(name)))
        for name, measured in of.measures.items()
        if not split_metric_name(name)[0] and not _is_usual(name)
    ]
    parts = "columns" if facts.task == "multilabel" else "classes"
    title = f"Other averages over the {parts}, {split} rows"
    heads = ("metric", "value", "prior", "linear model")
    return grid(title, heads, rows, right=(1, 2, 3), is_folded=True)


def _parts(of: SplitFindings, split: str, facts: RunFacts) -> Grid:
    """One row a class or column: its rows and each of its metrics."""
    by_part: dict[str, dict[str, MetricValue]] = {}
    for name, measured in of.measures.items():
        part, measure = split_metric_name(name)
        if part:
            by_part.setdefault(part, {})[measure] = measured
    measures = list(dict.fromkeys(name for one in by_part.values() for name in one))
    counts = _part_rows(facts, split)
    shown = list(by_part)
    title = "Metrics by class (one-vs-rest)" if facts.task == "multiclass" else "Metrics by column"
    if len(shown) > _MOST_PARTS:
        shown = sorted(shown, key=lambda part: -counts.get(part, 0))[:_MOST_PARTS]
        chosen = f"the {_MOST_PARTS} with the most rows" if counts else f"the first {_MOST_PARTS}"
        title += f", {chosen} of {len(by_part):,}"
    rows = [
        (
            part,
            *([f"{counts.get(part, 0):,}"] if counts else []),
            *(
                interval_text(by_part[part][name]) if name in by_part[part] else _NOTHING
                for name in measures
            ),
        )
        for part in shown
    ]
    kinds = {"multiclass": ("class", "rows"), "multilabel": ("column", "positive rows")}
    what, of_rows = kinds.get(facts.task or "", ("column", "rows"))
    heads = (what, *([of_rows] if counts else []), *measures)
    folded = len(rows) > _UNFOLDED_PARTS
    return grid(title, heads, rows, right=range(1, len(heads)), is_folded=folded)


def _part_rows(facts: RunFacts, split: str) -> dict[str, int]:
    """The rows of each class, or the positive rows of each column."""
    if facts.task not in ("multiclass", "multilabel") or split not in facts.answers:
        return {}
    answers = facts.answers[split]
    totals = answers.y.sum(axis=0, dtype=np.float64)
    return {name: int(total) for name, total in zip(answers.names, totals, strict=True)}


def slices(facts: RunFacts) -> Section:
    """Slices with worse metrics than all rows, and the rows with the largest loss."""
    return section("slices", "Errors", _slices(facts))


def _slices(facts: RunFacts) -> Iterator[Block]:
    findings = facts.findings
    if findings is None:
        return
    last = findings.last()
    if findings.slices is not None:
        of = findings.slices
        yield _slices_grid(of, f"Slices named in the config, {last} rows", searched=False)
    worst = findings.worst_slices
    if worst is not None and worst.looked_at:
        yield Prose(_search_words(worst, last))
        yield _slices_grid(worst, f"Worst slices, {last} rows", searched=True)
    yield _worst_rows(facts, findings, last)


def _search_words(worst: WorstSlices, split: str | None) -> str:
    significant = sum(one.chance is not None and one.chance < _SIGNIFICANT for one in worst.of)
    were = "was" if worst.looked_at == 1 else "were"
    searched = f"{pluralize(worst.looked_at, 'slice')} (levels of one column or of two) {were} "
    searched += "searched for "
    searched += f"worse {worst.measure} than {number(worst.whole)} on all {split} rows: "
    if not significant:
        text = f"{searched}no difference is statistically significant."
    else:
        text = f"{searched}{significant} of those below {'is' if significant == 1 else 'are'} "
        text += "significantly worse."
    if worst.of:
        text += " p-values are adjusted for the number of slices (Bonferroni)."
    return text


def _slices_grid(of: Slices | WorstSlices, title: str, *, searched: bool) -> Grid:
    rows = []
    for one in of.of:
        where = " and ".join(_is(column, level) for column, level in one.where.items())
        measured = interval_text(MetricValue(one.value, one.low, one.high))
        chance = [number(one.chance)] if searched else []
        rows.append((where, f"{one.rows:,}", measured, *chance))
    heads = ("slice", "rows", of.measure, *(["adjusted p-value"] if searched else []))
    marked = [
        place
        for place, one in enumerate(of.of)
        if one.chance is not None and one.chance < _SIGNIFICANT
    ]
    return grid(title, heads, rows, right=range(1, len(heads)), marked=marked)


def _is(column: str, level: str) -> str:
    """A condition; a bin of numbers carries its own comparison sign."""
    return f"{column} {level}" if level.startswith(("≤", ">")) else f"{column} = {level}"


def _worst_rows(facts: RunFacts, findings: Findings, split: str | None) -> Grid:
    names = findings.names[1:] if findings.task == "binary" else findings.names
    is_wide = len(names) > _MOST_ANSWERS
    kind = "predicted" if findings.task == "regression" else "probability of"
    rows = []
    for one in findings.worst_rows:
        actual = one.actual if isinstance(one.actual, str) else ", ".join(map(number, one.actual))
        answers: list[str] = []
        if not is_wide:
            answers = [number(value) for value in one.answer[: len(names)]]
            answers += [_NOTHING] * (len(names) - len(answers))
        rows.append((f"{one.row:,}", actual, *answers, number(one.loss)))
    heads = ["row", "actual", *([] if is_wide else [f"{kind} {name}" for name in names]), "loss"]
    title = f"Worst predictions: {split} rows with the largest loss (row numbers from 0)"
    return grid(title, heads, rows, right=range(2, len(heads)), is_folded=len(rows) > 10)
