"""Metrics of texts that are compared with one reference each: BLEU, chrF, ROUGE, exact match.

BLEU and chrF are those of sacrebleu (Post, A call for clarity in reporting BLEU scores, 2018), of all
texts together. ROUGE is the mean over texts (Lin, ROUGE, 2004). Each is computed from numbers of single
texts, so that any resample of them can be scored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trainer.errors import DataError, Problem
from trainer.metrics.arrays import Float64Array, Int64Array
from trainer.packages import install_command

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

BleuTokenizer = Literal["13a", "char"]
"""13a divides words and punctuation; char is for scripts without blanks between words."""

_WORD = re.compile(r"[^\W_]+")
_SACREBLEU = ("bleu", "chrf")
_ROUGE = {"rouge_1": 1, "rouge_2": 2}


def require_sacrebleu() -> None:
    """Check that the package `sacrebleu` is installed.

    Raises:
        DataError: It is not.
    """
    if find_spec("sacrebleu") is None:
        expected = "sacrebleu, which computes BLEU and chrF"
        raise DataError(Problem("", expected, "no such package", install_command("translate")))


@dataclass(frozen=True)
class TextScores:
    """Texts and their references, scored.

    Attributes:
        texts: The texts.
        references: The reference of each.
        tokenizer: How BLEU divides texts.
    """

    texts: Sequence[str]
    references: Sequence[str]
    tokenizer: BleuTokenizer = "13a"

    def __post_init__(self) -> None:
        assert len(self.texts) == len(self.references), (len(self.texts), len(self.references))

    def __len__(self) -> int:
        return len(self.texts)

    def compute(self, name: str) -> float:
        """Return a metric of all texts; nan without texts.

        Raises:
            DataError: The package `sacrebleu` is not installed.
        """
        return float(self.draws(name, np.arange(len(self.texts))[None])[0])

    def draws(self, name: str, indices: Int64Array) -> Float64Array:
        """Return a metric of each resample, (resamples,).

        Args:
            name: bleu, chrf, rouge_1, rouge_2, rouge_l or exact_match.
            indices: (resamples, rows), the texts in each resample.

        Raises:
            DataError: The package `sacrebleu` is not installed.
        """
        if not indices.shape[1]:
            return np.full(len(indices), np.nan)
        if name not in _SACREBLEU:
            return np.asarray(self._per_text(name)[indices].mean(axis=1), np.float64)
        metric, statistics = self._statistics[name]
        sums = (statistics[rows].sum(axis=0) for rows in indices)
        scores = [metric._compute_score_from_stats(total.tolist()).score for total in sums]
        return np.asarray(scores, np.float64)

    def signature(self, name: Literal["bleu", "chrf"]) -> str:
        """Return the signature of sacrebleu, with its version and all settings."""
        metric, _ = self._statistics[name]
        return str(metric.get_signature())

    def sentence_scores(self) -> Float64Array:
        """Return chrF of each text, (rows,), by which they are ordered in a report."""
        return self.draws("chrf", np.arange(len(self.texts))[:, None])

    @cached_property
    def _statistics(self) -> dict[str, tuple[Metric, Int64Array]]:
        require_sacrebleu()
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        # Otherwise sacrebleu logs advice if a text ends in a blank and a period.
        metrics = {"bleu": BLEU(tokenize=self.tokenizer, force=True), "chrf": CHRF()}
        counts: dict[str, tuple[Any, Int64Array]] = {}
        for name, metric in metrics.items():
            rows = metric._extract_corpus_statistics(list(self.texts), [list(self.references)])
            counts[name] = metric, np.asarray(rows, np.int64)
        return counts

    def _per_text(self, name: str) -> Float64Array:
        pairs = zip(self.texts, self.references, strict=True)
        if name == "exact_match":
            return np.array([_plain(text) == _plain(other) for text, other in pairs], np.float64)
        if name == "rouge_l":
            return np.array([rouge_l(*pair) for pair in pairs], np.float64)
        order = _ROUGE[name]
        return np.array([rouge_n(*pair, order) for pair in pairs], np.float64)


def _plain(text: str) -> str:
    """Return a text with single blanks."""
    return " ".join(text.split())


def rouge_words(text: str) -> list[str]:
    """Return the words of a text in lower case: runs of letters and digits."""
    return _WORD.findall(text.lower())


def rouge_n(text: str, reference: str, order: int) -> float:
    """Return the F-score of the n-grams of words of a text, 0 to 1."""
    grams, expected = (_ngrams(rouge_words(part), order) for part in (text, reference))
    return _f_score((grams & expected).total(), grams.total(), expected.total())


def rouge_l(text: str, reference: str) -> float:
    """Return the F-score of the longest common subsequence of words of a text, 0 to 1."""
    words, expected = rouge_words(text), rouge_words(reference)
    return _f_score(_common_subsequence(words, expected), len(words), len(expected))


def _ngrams(words: list[str], order: int) -> Counter[tuple[str, ...]]:
    starts = range(len(words) - order + 1)
    return Counter(tuple(words[start : start + order]) for start in starts)


def _f_score(common: int, found: int, expected: int) -> float:
    return 2 * common / (found + expected) if common else 0.0


def _common_subsequence(words: Sequence[str], others: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    lengths = [0] * (len(others) + 1)
    for word in words:
        before = 0
        for index, other in enumerate(others, start=1):
            above = lengths[index]
            lengths[index] = before + 1 if word == other else max(above, lengths[index - 1])
            before = above
    return lengths[-1]
