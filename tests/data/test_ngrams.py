import random
import unicodedata

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from trainer.data.ngrams import (
    clean_text,
    split_units,
    term_keys,
    text_chunks,
    unspaced_share,
)


def ngrams_of(text, unit, lengths):
    units = split_units([text], unit)
    ngrams = units.ngrams(lengths)
    return sorted(
        units.text_of(first, size)
        for first, size in zip(ngrams.firsts.tolist(), ngrams.sizes.tolist(), strict=True)
    )


def expected(text, analyzer, lengths):
    vectorizer = CountVectorizer(analyzer=analyzer, ngram_range=lengths, lowercase=False)
    return sorted(vectorizer.build_analyzer()(text))


TEXTS = [
    "a tiny film, but the best one of 2019!",
    "don't   stop_now -- x y zz",
    "Łódź straße ÉCOLE naïve",
    "这本书很好，值得一看",
    "כתב טוב מאוד",
    "one",
    "!!!",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("lengths", [(1, 1), (1, 2), (2, 3)])
def test_ngrams_are_those_of_scikit_learn(text, lengths):
    text = clean_text(text, lowercase=True)
    assert ngrams_of(text, "words", lengths) == expected(text, "word", lengths)
    assert ngrams_of(text, "characters", lengths) == expected(text, "char", lengths)


def test_symbols_are_words_and_marks_belong_to_letters():
    assert ngrams_of("so good 😀👍 x ©", "words", (1, 1)) == sorted(["so", "good", "😀", "👍", "©"])
    # Scikit-learn splits Hindi words at their vowel signs.
    assert ngrams_of("अच्छी किताब", "words", (1, 2)) == sorted(["अच्छी", "किताब", "अच्छी किताब"])


def test_ngrams_do_not_cross_texts():
    units = split_units(["ab cd", "", "ef"], "words")
    ngrams = units.ngrams((1, 2))
    assert ngrams.documents.tolist() == [0, 0, 2, 0]
    characters = split_units(["ab", "", "c"], "characters").ngrams((1, 2))
    assert characters.documents.tolist() == [0, 0, 2, 0]


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_equal_ngrams_and_no_others_have_equal_keys(unit):
    random.seed(1)
    words = ["".join(random.choices("abé这😀", k=random.randint(2, 4))) for _ in range(60)]
    texts = [" ".join(random.choices(words, k=8)) for _ in range(50)]
    units = split_units(texts, unit)
    ngrams = units.ngrams((1, 3))
    named = [
        units.text_of(first, size)
        for first, size in zip(ngrams.firsts.tolist(), ngrams.sizes.tolist(), strict=True)
    ]
    assert len(set(named)) == len(set(ngrams.keys.tolist()))
    keys = dict(zip(named, ngrams.keys.tolist(), strict=True))
    assert len(keys) == len(set(keys.values()))
    assert term_keys(unit, list(keys), 3).tolist() == list(keys.values())


def test_texts_are_normalized():
    assert clean_text("  Ünder\n\t the\u00a0TREE ", lowercase=True) == "ünder the tree"
    assert clean_text("A  b", lowercase=False) == "A b"
    decomposed = unicodedata.normalize("NFD", "Café")
    assert clean_text(decomposed, lowercase=False) == "Café"


def test_hostile_texts_take_little_time():
    # Normalization sorts combining marks in quadratic time.
    marks = "a" + "\u0301\u0323" * 400_000
    text = clean_text(marks + "x" * 10_000_000, lowercase=True)
    assert len(text) <= 1_000_000
    ngrams = split_units([text, "\x00 a\x00b", "\ufeff\u200f"], "characters").ngrams((1, 1))
    assert set(ngrams.documents.tolist()) == {0, 1, 2}


def test_share_of_letters_in_scripts_without_blanks():
    assert unspaced_share(["这本书"]) == 1.0
    assert unspaced_share(["good book", "เล่ม"]) == pytest.approx(4 / 12)
    assert unspaced_share(["1 !", ""]) == 0.0
    assert unspaced_share([]) == 0.0


def test_chunks_cover_all_texts_once():
    texts = ["x" * size for size in (3, 5, 40, 1, 0, 2)]
    chunks = text_chunks(texts, 10)
    assert [text for part in chunks for text in texts[part]] == texts
    assert len(chunks) == 3
    assert np.concatenate([np.arange(6)[part] for part in text_chunks([], 10)]).size == 0
