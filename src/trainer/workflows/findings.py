"""What a run's answers come to: measures with intervals, beside two baselines, where they fail, in a
sentence. Everything follows from `predictions/`, `decisions.json` and the table; no TensorFlow.

Owns: which questions are put to `trainer.evaluation`, and `findings.json`. Does not own: the answers
(`recording`), the methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.config.schema import Config
from trainer.data.prepare import PreparedTable
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.evaluation import bootstrap as bootstrapped
from trainer.evaluation.answers import Answers
from trainer.evaluation.baselines import fit_prior
from trainer.evaluation.bootstrap import bootstrap, compare
from trainer.evaluation.calibration import calibration_error
from trainer.evaluation.conformal import Conformal, empirical_coverage
from trainer.evaluation.intervals import Interval
from trainer.evaluation.measures import SEPARATOR, measure_all
from trainer.evaluation.slices import worst_rows
from trainer.report.answers import LINEAR, answers_bytes, read_answers
from trainer.report.findings import (
    Difference,
    Findings,
    Measured,
    SplitFindings,
    WorstRow,
    write_findings,
)
from trainer.report.sentence import summary_sentence
from trainer.runs.directory import RunDirectory
from trainer.workflows.decisions import decide
from trainer.workflows.headline import compared
from trainer.workflows.linear import linear_answers
from trainer.workflows.question import Question
from trainer.workflows.slicing import find_slices

_DRAWN_ROWS, _COMPARED_ROWS = 200_000_000, 40_000_000
"""Rows that are drawn at most for intervals, and for those of differences, which take four times as
long: large splits have fewer resamples. With more than ten classes a row takes longer, in proportion."""
_LEAST_RESAMPLES = 200
_WORST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Part:
    """A table with its split, and what is asked of it before anything is chosen."""

    prepared: PreparedTable
    question: Question


@dataclass(frozen=True, slots=True)
class Judged:
    """What is judged.

    Attributes:
        run: The run directory, with its answers.
        config: The run's.
        question: What is asked, with what was chosen on the validation rows.
        parts: Its table, split as it was; one for each fold, where there are folds.
    """

    run: RunDirectory
    config: Config
    question: Question
    parts: tuple[Part, ...]

    @property
    def prepared(self) -> PreparedTable:
        """The table, split as it was for the first."""
        return self.parts[0].prepared


def find_out(judged: Judged) -> Findings:
    """Write what the answers of a run come to; also the answers of the linear baseline.

    Raises:
        RunError: Its files are damaged.
        StorageError: It cannot be written.
    """
    settings, question = judged.config.evaluate, judged.question
    ours = _answers(judged)
    baseline = _linear(judged)
    task_name = question.target.task
    names = compared(judged.config, task_name, ours.values())
    splits: dict[str, SplitFindings] = {
        split: _split(judged, answers, baseline, split, names) for split, answers in ours.items()
    }
    last = ours.get("test") or ours.get("validation") or ours["train"]
    slices, worst_slices = find_slices(judged.config, judged.prepared, last, question.threshold)
    findings = Findings(
        task=task_name,
        names=tuple(last.names),
        level=settings.confidence_level,
        sentence="",
        splits=splits,
        resamples=settings.resamples,
        seed=judged.config.seed,
        compared=names,
        slices=slices,
        worst_slices=worst_slices,
        worst_rows=_worst_rows(question, last),
    )
    findings = replace(findings, sentence=summary_sentence(findings))
    write_findings(judged.run, findings)
    return findings


def _answers(judged: Judged) -> dict[SplitName, Answers]:
    question = judged.question
    names = question.target.names
    found: dict[SplitName, Answers] = {}
    for split in SPLIT_NAMES:
        answers = read_answers(
            judged.run, split, question.target.task, names, question.answer_names
        )
        if answers is not None:
            found[split] = answers
    return found


@dataclass(frozen=True, slots=True)
class _Linear:
    of: Mapping[SplitName, Answers]
    threshold: float


def _linear(judged: Judged) -> _Linear:
    """What linear models say: one for each fold; of the test rows the mean."""
    said: dict[SplitName, list[Answers]] = {"validation": [], "test": []}
    for part in judged.parts:
        answers = linear_answers(judged.config, part.question, part.prepared, tuple(said))
        for split in answers:
            said[split].append(answers[split])
    found = {split: _together(split, each) for split, each in said.items() if each}
    for split, one in found.items():
        content = answers_bytes(one, judged.question.answer_names)
        judged.run.write_predictions(f"{split}{LINEAR}.parquet", content)
    # It gets its own threshold, chosen for the same; without rows to choose on, the network's.
    settings = judged.config.evaluate.model_copy(update={"calibrate": False})
    decisions = decide(settings, judged.parts[0].question, found.get("validation"))
    chosen = decisions.threshold if "validation" in found else judged.question.threshold
    return _Linear(found, chosen)


def _together(split: SplitName, answers: list[Answers]) -> Answers:
    """Those of other rows beside each other, those of the same rows as their mean."""
    first = answers[0]
    if split == "test":
        return replace(first, p=np.stack([one.p for one in answers]).mean(axis=0))
    weights = [one.weight for one in answers if one.weight is not None]
    return replace(
        first,
        y=np.concatenate([one.y for one in answers]),
        p=np.concatenate([one.p for one in answers]),
        rows=np.concatenate([one.rows for one in answers]),
        weight=np.concatenate(weights) if weights else None,
    )


def _split(
    judged: Judged,
    answers: Answers,
    baseline: _Linear,
    split: SplitName,
    names: tuple[str, ...],
) -> SplitFindings:
    settings, question = judged.config.evaluate, judged.question
    task_name = question.target.task
    rows, most = len(answers), settings.resamples
    size = rows * max(1, len(answers.names) // 10)
    resamples, compared_resamples = (
        max(min(most, _LEAST_RESAMPLES), min(most, limit // max(1, size)))
        for limit in (_DRAWN_ROWS, _COMPARED_ROWS)
    )
    drawn: dict[str, Any] = {
        "confidence_level": settings.confidence_level,
        "seed": judged.config.seed,
    }
    threshold = question.threshold
    measures = bootstrap(answers, threshold=threshold, resamples=resamples, **drawn)
    found = SplitFindings(
        rows=len(answers),
        measures=_measured(measures),
        resamples=resamples,
        compared_resamples=compared_resamples,
    )
    if split != "train":
        prior = _prior(judged, answers)
        linear = replace(_aligned(baseline.of[split], answers), group=answers.group)
        drawn |= {"threshold": threshold, "names": names, "resamples": compared_resamples}
        over_prior = compare(answers, prior, **drawn)
        over_linear = compare(answers, linear, other_threshold=baseline.threshold, **drawn)
        found = replace(
            found,
            prior=_whole(measure_all(prior, threshold)),
            linear=_whole(measure_all(linear, baseline.threshold)),
            over_prior=_differences(over_prior),
            over_linear=_differences(over_linear),
        )
    if task_name != "regression":
        error = calibration_error(task_name, answers.y, answers.p, weight=answers.weight)
        found = replace(found, calibration_error=Measured.of(error, error, error).value)
    if task_name == "regression" and question.half_widths and split != "validation":
        fitted = Conformal(np.array(question.half_widths), settings.prediction_interval, 0)
        on_curves = question.target.on_curves
        covered = empirical_coverage(
            fitted, on_curves(answers.y), on_curves(answers.p), settings.confidence_level
        )
        by_column = dict(zip(answers.names, covered, strict=True))
        found = replace(found, covered=_measured(by_column))
    return found


def _measured(measures: Mapping[str, Interval]) -> dict[str, Measured]:
    return {name: Measured.of(one.value, one.low, one.high) for name, one in measures.items()}


def _differences(found: Mapping[str, bootstrapped.Difference]) -> dict[str, Difference]:
    return {
        name: Difference.of(one.value, one.low, one.high, one.is_noise)
        for name, one in found.items()
    }


def _worst_rows(question: Question, answers: Answers) -> tuple[WorstRow, ...]:
    places, losses = worst_rows(answers, _WORST_ROWS)
    actual = question.in_words(answers.y[places])
    return tuple(
        WorstRow(
            int(answers.rows[place]),
            actual[number] if isinstance(actual[number], str) else tuple(actual[number]),
            tuple(float(value) if np.isfinite(value) else None for value in answers.p[place]),
            Measured.of(loss, loss, loss).value,
        )
        for number, (place, loss) in enumerate(zip(places, losses, strict=True))
    )


def _prior(judged: Judged, answers: Answers) -> Answers:
    """The shares of the classes, or the means, of the training rows."""
    prepared = judged.prepared
    rows = np.flatnonzero(prepared.assignment == SPLIT_NAMES.index("train"))
    values = prepared.target_values(rows)
    truths = prepared.targets(rows)[0] if values is None else values
    weight = None if prepared.weight is None else prepared.weight[rows]
    mean = fit_prior(truths, weight)
    return replace(answers, p=np.tile(mean, (len(answers), 1)).astype(answers.p.dtype))


def _aligned(other: Answers, answers: Answers) -> Answers:
    """Those for the rows of `answers`, in their order."""
    order = np.argsort(other.rows)
    place = order[np.searchsorted(other.rows, answers.rows, sorter=order)]
    return other.take(place)


def _whole(measures: Mapping[str, float]) -> dict[str, float | None]:
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in measures.items()
        if SEPARATOR not in name
    }
