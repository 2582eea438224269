"""Metrics of texts, compared with sacrebleu and rouge-score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics.texts import TextScores, rouge_l, rouge_n

TEXTS = ["the cat sat on the mat .", "a dog", "", "hello there, General!", "same text"]
REFERENCES = [
    "the cat is on the mat.",
    "the dog barked",
    "nothing",
    "Hello there General",
    "same text",
]
NAMES = ("bleu", "chrf", "rouge_1", "rouge_2", "rouge_l", "exact_match")
WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=9).map(" ".join)


def test_bleu_and_chrf_are_those_of_sacrebleu():
    from sacrebleu.metrics import BLEU, CHRF

    scores = TextScores(TEXTS, REFERENCES)
    bleu, chrf = BLEU(), CHRF()
    assert scores.compute("bleu") == bleu.corpus_score(TEXTS, [REFERENCES]).score
    assert scores.compute("chrf") == chrf.corpus_score(TEXTS, [REFERENCES]).score
    assert scores.signature("bleu") == str(bleu.get_signature())
    assert scores.signature("chrf") == str(chrf.get_signature())
    characters = TextScores(["他说你好", "天气"], ["他说您好", "天气很好"], "char")
    expected = BLEU(tokenize="char").corpus_score(["他说你好", "天气"], [["他说您好", "天气很好"]])
    assert characters.compute("bleu") == expected.score


@pytest.mark.parametrize("name", NAMES)
def test_a_resample_is_scored_like_its_texts(name):
    indices = np.array([[0, 0, 3, 1, 4], [4, 4, 4, 4, 4], [2, 1, 0, 3, 3]])
    draws = TextScores(TEXTS, REFERENCES).draws(name, indices)
    for row, draw in zip(indices, draws, strict=True):
        alone = TextScores([TEXTS[i] for i in row], [REFERENCES[i] for i in row])
        assert draw == pytest.approx(alone.compute(name))
    assert draws[1] == (100.0 if name in ("bleu", "chrf") else 1.0) or name == "bleu"


def test_no_texts_have_no_metrics():
    assert np.isnan(TextScores([], []).compute("bleu"))


@given(WORDS, WORDS)
def test_rouge_is_that_of_the_reference_package(text, reference):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(
        ["rouge1", "rouge2", "rougeL"]
    )
    expected = scorer.score(reference, text)
    assert rouge_n(text, reference, 1) == pytest.approx(expected["rouge1"].fmeasure)
    assert rouge_n(text, reference, 2) == pytest.approx(expected["rouge2"].fmeasure)
    assert rouge_l(text, reference) == pytest.approx(expected["rougeL"].fmeasure)


def test_rouge_compares_words_with_accents():
    assert rouge_n("Été, déjà", "été déjà", 1) == 1.0
    assert rouge_l("le chat noir", "le noir chat") == pytest.approx(2 / 3)
