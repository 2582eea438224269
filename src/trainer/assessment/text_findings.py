"""The findings of translations: metrics with intervals, and what is better than a copy of the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.assessment.intervals import percentile_interval
from trainer.assessment.resampling import bounded_resamples
from trainer.config.data import explicit_task
from trainer.config.metrics import METRICS, MetricName
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import Float64Array, Int64Array
from trainer.metrics.texts import BleuTokenizer, TextScores
from trainer.runs.explanations import TranslationsByLength
from trainer.runs.findings import Findings, MetricDifference, MetricValue, SplitFindings

_DRAWN_ROWS = 2_000_000
"""Maximum number of resampled rows of a split."""
_MAX_COMPARED = 50_000
"""Maximum number of training texts that the nearest one is searched in: the first ones."""
_LENGTHS = (1, 4, 7, 11, 16, 26)
"""The first number of words of each class of lengths."""
_GRAM = 3


@dataclass(frozen=True, slots=True)
class TranslatedTexts:
    """The translations of a split.

    Attributes:
        rows: Row numbers in the source.
        sources: The texts that are translated.
        references: The targets.
        translations: The texts that are predicted.
    """

    rows: Int64Array
    sources: Sequence[str]
    references: Sequence[str]
    translations: Sequence[str]


def text_findings(
    config: Config,
    column: str,
    tokenizer: BleuTokenizer,
    splits: Mapping[str, TranslatedTexts],
    training: tuple[Sequence[str], Sequence[str]],
) -> Findings:
    """Return the findings of translations, without the summary sentence.

    Args:
        config: The config.
        column: The target column.
        tokenizer: How BLEU divides texts.
        splits: The translations of each split that has any.
        training: The sources and the targets of the training rows.
    """
    names = compared_text_metrics(config)
    settings = config.evaluate
    found = {
        split: _split_findings(config, names, tokenizer, texts, training)
        for split, texts in splits.items()
    }
    first = next(iter(splits.values()))
    scores = TextScores(first.translations[:1], first.references[:1], tokenizer)
    return Findings(
        task=explicit_task(config.data),
        names=(column,),
        confidence_level=settings.confidence_level,
        sentence="",
        splits=found,
        resamples=settings.resamples,
        seed=config.seed,
        compared_metrics=names,
        notes=(f"BLEU: {scores.signature('bleu')}.", f"chrF: {scores.signature('chrf')}."),
    )


def compared_text_metrics(config: Config) -> tuple[MetricName, ...]:
    """Return the metrics of texts that have intervals: those of the config, then the others."""
    configured = [] if config.metrics == "auto" else config.metrics
    names = [name for name in configured if METRICS[name].needs_decoding]
    return tuple(dict.fromkeys([*names, *TASK_RULES[explicit_task(config.data)].compared_metrics]))


def _split_findings(
    config: Config,
    names: Sequence[MetricName],
    tokenizer: BleuTokenizer,
    texts: TranslatedTexts,
    training: tuple[Sequence[str], Sequence[str]],
) -> SplitFindings:
    settings = config.evaluate
    rows = len(texts.rows)
    resamples = bounded_resamples(settings.resamples, rows, _DRAWN_ROWS)
    # The order of rows does not matter: that of a resumed run is the same.
    generator = np.random.Generator(np.random.Philox(key=[config.seed, rows]))
    indices = generator.integers(0, rows, (resamples, rows))
    texts_of = {
        "network": texts.translations,
        "copy": texts.sources,
        "nearest": nearest_targets(texts.sources, *training),
    }
    values: dict[str, dict[str, float]] = {}
    draws: dict[str, Float64Array] = {}
    for model, candidates in texts_of.items():
        scores = TextScores(candidates, texts.references, tokenizer)
        values[model] = {name: scores.compute(name) for name in names}
        draws[model] = np.stack([scores.draws(name, indices) for name in names], axis=1)
    level = settings.confidence_level
    low, high = percentile_interval(draws["network"], level)
    return SplitFindings(
        rows=rows,
        metrics={
            name: MetricValue.from_floats(values["network"][name], low[index], high[index])
            for index, name in enumerate(names)
        },
        resamples=resamples,
        difference_resamples=resamples,
        copy=values["copy"],
        nearest=values["nearest"],
        vs_copy=_differences(names, values, draws, "copy", level),
        vs_nearest=_differences(names, values, draws, "nearest", level),
    )


def _differences(
    names: Sequence[MetricName],
    values: Mapping[str, Mapping[str, float]],
    draws: Mapping[str, Float64Array],
    model: str,
    level: float,
) -> dict[str, MetricDifference]:
    """Return the metrics of the network minus those of a model, from the same resamples."""
    low, high = percentile_interval(draws["network"] - draws[model], level)
    return {
        name: MetricDifference.from_floats(
            values["network"][name] - values[model][name],
            low[index],
            high[index],
            bool(low[index] > 0 or high[index] < 0),
        )
        for index, name in enumerate(names)
    }


def nearest_targets(
    sources: Sequence[str], training_sources: Sequence[str], training_targets: Sequence[str]
) -> list[str]:
    """Return the target of the most similar training source for each source.

    The similarity is the cosine of counts of character trigrams, weighted by the logarithm of their
    inverse document frequency; of equally similar sources the first counts.
    """
    known = training_sources[:_MAX_COMPARED]
    counts = [_grams(text) for text in known]
    frequency = Counter(gram for row in counts for gram in row)
    weights = {gram: np.log((1 + len(known)) / n) for gram, n in frequency.items()}
    postings: dict[str, tuple[list[int], list[float]]] = {}
    norms = np.zeros(len(known))
    for number, row in enumerate(counts):
        for gram, count in row.items():
            value = count * weights[gram]
            norms[number] += value**2
            numbers, values = postings.setdefault(gram, ([], []))
            numbers.append(number)
            values.append(value)
    arrays = {gram: (np.array(rows), np.array(row)) for gram, (rows, row) in postings.items()}
    norms = np.sqrt(np.maximum(norms, 1e-12))
    nearest = []
    for text in sources:
        products = np.zeros(len(known))
        for gram, count in _grams(text).items():
            if gram in arrays:
                numbers_of, values_of = arrays[gram]
                products[numbers_of] += count * weights[gram] * values_of
        nearest.append(training_targets[int(np.argmax(products / norms))])
    return nearest


def _grams(text: str) -> Counter[str]:
    padded = f" {' '.join(text.lower().split())} "
    return Counter(padded[start : start + _GRAM] for start in range(len(padded) - _GRAM + 1))


def metrics_by_length(
    texts: TranslatedTexts, names: Sequence[MetricName], tokenizer: BleuTokenizer
) -> tuple[TranslationsByLength, ...]:
    """Return metrics of the translations for classes of the number of words of their sources."""
    lengths = np.array([len(text.split()) for text in texts.sources])
    found = []
    for number, first in enumerate(_LENGTHS):
        last = _LENGTHS[number + 1] - 1 if number + 1 < len(_LENGTHS) else None
        is_in = lengths <= last if last is not None else np.ones(len(lengths), np.bool_)
        is_in &= (lengths >= first) | (number == 0)
        chosen = np.flatnonzero(is_in).tolist()
        if chosen:
            scores = TextScores(
                [texts.translations[index] for index in chosen],
                [texts.references[index] for index in chosen],
                tokenizer,
            )
            metrics: dict[str, float | None] = {name: scores.compute(name) for name in names}
            found.append(TranslationsByLength(first, last, len(chosen), metrics))
    return tuple(found)
