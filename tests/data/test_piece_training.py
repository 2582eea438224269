"""Parts of words chosen from texts, compared with the package `tokenizers`."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config.tokens import Tokens
from trainer.data.piece_training import WordCounts, train_merges
from trainer.data.token_definitions import CONTINUATION

tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    "the lowest tower was lower than the newest tower",
    "newer towers are wider, and widest of all: the new one",
    "She said: unbelievable! believable, believing…",
    "low lower lowest new newer newest wide wider widest",
] * 3


def fitted(texts=TEXTS, **settings):
    counts = WordCounts(Tokens(**settings))
    counts.add(texts)
    return counts.fitted()


def text_of(pieces, ids):
    names = {number: token for token, number in pieces.definition["model"]["vocab"].items()}
    return [names[number] for number in ids]


def oracle_merges(words, size, min_count):
    """Return the merges of the trainer of the package."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, min_frequency=min_count, show_progress=False
    )
    text = " ".join(word for word, count in words.items() for _ in range(count))
    tokenizer.train_from_iterator([text], trainer)
    content = json.loads(tokenizer.to_str())["model"]
    return content["vocab"], [tuple(pair) for pair in content["merges"]]


@pytest.mark.parametrize(("size", "min_count"), [(30, 2), (60, 2), (500, 2), (500, 4)])
def test_merges_are_those_of_the_package(size, min_count):
    words = Counter(" ".join(TEXTS).split())
    # The trainer of the package keeps rare letters.
    merges = train_merges(words, size, min_count, alphabet=set("".join(words)))
    vocabulary, expected = oracle_merges(words, size, min_count)
    assert list(merges.pairs) == expected
    assert {token: number for number, token in enumerate(merges.tokens)} == vocabulary


@settings(max_examples=30)
@given(st.lists(st.text("abc", min_size=1, max_size=8), min_size=1, max_size=12))
def test_merges_of_random_words_are_those_of_the_package(words):
    counts = Counter(words)
    merges = train_merges(counts, 40, 2, alphabet=set("".join(words)))
    _, expected = oracle_merges(counts, 40, 2)
    assert list(merges.pairs) == expected


@pytest.mark.parametrize("tokenizer", ["wordpiece", "bpe"])
def test_the_tokens_of_a_text_are_its_parts(tokenizer):
    pieces = fitted(tokenizer=tokenizer, max_tokens=300)
    text = "believable lower newest"
    tokens = text_of(pieces, pieces.encode([text])[0])
    joined = "".join(token.removeprefix(CONTINUATION).replace("Ġ", "") for token in tokens)
    assert joined == text.replace(" ", "")
    assert len(tokens) < 8
    assert (pieces.prefix, pieces.suffix, pieces.pad_id) == ((), (), 0)
    assert pieces.unknown_id == (1 if tokenizer == "wordpiece" else None)
    assert list(pieces.problems("x")) == []


def test_unknown_letters():
    known = fitted(tokenizer="wordpiece")
    assert text_of(known, known.encode(["low 好 low"])[0]) == ["low", "[UNK]", "low"]
    in_bytes = fitted(tokenizer="bpe")
    assert len(in_bytes.encode(["好"])[0]) == 4  # a blank and three bytes


def test_limits():
    assert fitted(tokenizer="wordpiece", max_tokens=30).size == 32
    assert fitted(tokenizer="bpe", max_tokens=258).size == 259
    assert fitted([""], tokenizer="wordpiece") is None
    assert fitted(["ab"], tokenizer="wordpiece") is None  # each letter occurs once


def test_case_and_special_tokens():
    pieces = fitted(["The The the the"], tokenizer="wordpiece", special_tokens=True)
    assert (pieces.prefix, pieces.suffix) == ((2,), (3,))
    assert len(set(pieces.encode(["The the THE"])[0].tolist())) == 1
    cased = fitted(["The The the the"], tokenizer="wordpiece", lowercase=False)
    assert len(set(cased.encode(["The the"])[0].tolist())) == 2
    wide = fitted(["ａｂ ab"] * 2, tokenizer="bpe", normalize="nfkc")
    assert len(set(wide.encode(["ａｂ ab"])[0].tolist())) == 1


def test_a_text_of_one_long_word_takes_no_time():
    pieces = fitted(["a" * 300_000], tokenizer="bpe")
    assert pieces.encode(["a" * 1000])[0].size < 100


CODE = """\
import json, sys
from trainer.config.tokens import Tokens
from trainer.data.piece_training import WordCounts
counts = WordCounts(Tokens(tokenizer=sys.argv[1]))
counts.add(sys.argv[2:])
print(json.dumps(counts.fitted().definition))
"""


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["wordpiece", "bpe"])
def test_the_tokens_are_the_same_in_every_process(tokenizer):
    definitions = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", CODE, tokenizer, *TEXTS]
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        definitions.add(done.stdout)
    assert len(definitions) == 1
