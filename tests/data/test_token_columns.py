import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.vocabularies import write_vocabulary
from trainer.config.load import load_config
from trainer.config.tokens import Tokens
from trainer.data.prepare import prepare
from trainer.data.preprocessing import Preprocessing
from trainer.data.token_columns import TokenColumn
from trainer.data.token_fitting import token_accumulator
from trainer.errors import ConfigError, DataError
from trainer.inputs import TOKENS, InputSpec

TEXTS = ["a b c", "a b", "c a d d", None, "", "a"]


def fitted(texts=TEXTS, **settings):
    accumulator = token_accumulator(Tokens(**settings), 0)
    for start in range(0, len(texts), 4):
        accumulator.add(pl.Series("t", texts[start : start + 4], dtype=pl.String))
    return accumulator.fitted("t")


def ids(column, *texts):
    return column.encode(pl.Series("t", texts, dtype=pl.String))[0].tolist()


def test_ids_count_from_the_most_frequent_token():
    column = fitted(length=4)
    assert column.tokens == ("a", "b", "c")
    counts = column.counts
    assert (column.missing, counts.texts, counts.empty, counts.truncated) == (1, 5, 1, 0)
    assert (counts.tokens, counts.unknown, counts.cut_off) == (10, 2, 0)
    assert column.vectors == (5, 64)
    assert ids(column, "C, b zz a!", "a", "", None) == [
        [4, 3, 1, 2],
        [0, 0, 0, 2],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("truncate", "expected"),
    [("end", [2, 3, 4]), ("start", [4, 2, 3]), ("middle", [2, 3, 3])],
)
def test_long_texts_are_cut_off(truncate, expected):
    column = fitted(length=3, truncate=truncate)
    assert ids(column, "a b c a b", "b c") == [expected, [0, 3, 4]]
    assert (column.counts.truncated, column.counts.cut_off) == (1, 1)


def test_padding_at_the_end():
    assert ids(fitted(length=3, pad="end"), "b c", "a b c a") == [[3, 4, 0], [2, 3, 4]]


def test_characters():
    column = fitted(["好书", "好 书"], length=3)
    assert column.unit == "characters"
    assert sorted(column.tokens) == ["书", "好"]
    assert fitted(["好书", "好书"], tokenizer="words").tokens == ("好书",)


def test_normalization():
    composed, decomposed, wide = "café", "cafe\u0301", "ｃａｆé"
    assert fitted([composed, decomposed]).tokens == (composed,)
    assert fitted([composed, wide], normalize="nfkc").tokens == (composed,)
    assert len(fitted([composed, decomposed], normalize="none", min_count=1).tokens) == 2
    assert len(fitted([composed, wide], min_count=1).tokens) == 2


def test_texts_without_known_tokens_are_unseen():
    column = fitted()
    _, unknown = column.encode(pl.Series("t", ["zz", "zz a", "", None]))
    assert unknown.tolist() == [True, False, False, False]


def test_limits_of_the_vocabulary():
    assert fitted(min_count=3).tokens == ("a",)
    assert fitted(max_tokens=2).tokens == ("a", "b")
    assert fitted(["x", "y"]) is None


class TestPieces:
    """Tokens of a vocabulary file."""

    @pytest.fixture
    def vocabulary(self, tmp_path):
        pytest.importorskip("tokenizers")
        return str(write_vocabulary(tmp_path))

    def test_special_tokens_and_padding(self, vocabulary):
        column = fitted(["the books", "a book was dull"], vocabulary=vocabulary, length=5)
        the, book, was, _, dull, plural, *_ = range(5, 12)
        a = 15
        assert ids(column, "the books", "a book was dull", "", None, "zz") == [
            [2, the, book, plural, 3],
            [2, a, book, was, 3],
            [2, 3, 0, 0, 0],
            [2, 3, 0, 0, 0],
            [2, 1, 3, 0, 0],
        ]
        _, unknown = column.encode(pl.Series(["zz", "zz a", ""]))
        assert unknown.tolist() == [True, False, False]
        assert (column.room, column.vocabulary_size, column.pad_id) == (3, 18, 0)
        cut = fitted(["a"], vocabulary=vocabulary, length=4, truncate="start", pad="start")
        assert ids(cut, "a book was dull", "a") == [[2, was, dull, 3], [0, 2, a, 3]]

    @settings(max_examples=40)
    @given(st.data())
    def test_every_setting_keeps_as_many_tokens_as_there_is_room_for(self, tmp_path_factory, data):
        pytest.importorskip("tokenizers")
        folder = tmp_path_factory.getbasetemp() / "tokens"
        path = write_vocabulary(folder)
        chosen = {
            "length": data.draw(st.integers(3, 9)),
            "truncate": data.draw(st.sampled_from(["end", "start", "middle"])),
            "pad": data.draw(st.sampled_from(["start", "end"])),
            "special_tokens": data.draw(st.booleans()),
        }
        column = fitted(["the"], vocabulary=str(path), **chosen)
        words = data.draw(st.lists(st.sampled_from(["the", "book", "was", "dull"]), max_size=12))
        (row,) = ids(column, " ".join(words))
        used = [token for token in row if token != 0]
        ends = 2 if chosen["special_tokens"] else 0
        assert len(used) == min(len(words), column.room) + ends
        assert row in (
            [*used, *[0] * (len(row) - len(used))],
            [*[0] * (len(row) - len(used)), *used],
        )
        if 0 < len(used) < len(row):
            assert (row[0] == 0) is (chosen["pad"] == "start")

    def test_a_length_without_room_is_an_error(self, vocabulary):
        with pytest.raises(DataError, match="more than 2, as there are special tokens"):
            fitted(["a"], vocabulary=vocabulary, length=2)
        assert fitted(["a"], vocabulary=vocabulary, length=1, special_tokens=False).room == 1

    def test_a_vocabulary_of_another_language_has_a_warning(self, vocabulary):
        assert fitted(["the book was great"], vocabulary=vocabulary).warning == ""
        other = fitted(["не знаю", "the book"], vocabulary=vocabulary)
        assert "50% of the tokens of 't' are unknown: the vocabulary does not fit" in other.warning

    @pytest.mark.parametrize("settings", [{"tokenizer": "wordpiece"}, {"tokenizer": "bpe"}])
    def test_trained_pieces_are_restored_from_json(self, settings):
        pytest.importorskip("tokenizers")
        column = fitted(["a book", "the books"] * 4, length=6, **settings)
        again = TokenColumn.model_validate_json(column.model_dump_json())
        assert again == column
        assert ids(again, "the booking") == ids(column, "the booking")


def test_rare_words_have_a_warning():
    texts = [f"word{row} again" for row in range(20)]
    assert "50% of the words of 't' are unknown" in fitted(texts).warning
    assert fitted(texts, min_count=1).warning == ""


@pytest.fixture
def config(tmp_path):
    frame = pl.DataFrame(
        {
            "review": [f"word{row % 9} and word{row % 5}" for row in range(80)],
            "number": range(80),
            "label": ["yes", "no"] * 40,
        }
    )
    frame.write_csv(tmp_path / "t.csv")

    def load(columns, tokens="{length: 5, dimension: 4}"):
        path = tmp_path / "c.yaml"
        data = f"source: t.csv, target: label, tokens: {tokens}, columns: {columns}"
        path.write_text(f"data: {{{data}}}\n")
        return load_config(path).config

    return load


@pytest.mark.parametrize("tokenizer", ["words", "characters", "wordpiece", "bpe"])
def test_tokens_are_an_input(config, tokenizer):
    if tokenizer in ("wordpiece", "bpe"):
        pytest.importorskip("tokenizers")
    tokens = f"{{length: 5, dimension: 4, tokenizer: {tokenizer}}}"
    settings = config("{review: {kind: tokens}}", tokens)
    dataset, stream = prepare(settings), prepare(settings, streamed=True)
    assert InputSpec(TOKENS, (5,), "int32") in dataset.preprocessing.inputs
    assert dataset.preprocessing == stream.preprocessing
    restored = Preprocessing.from_json(dataset.preprocessing.to_json())
    assert restored == dataset.preprocessing
    for split in ("train", "validation"):
        samples = dataset.samples(split)
        assert samples.inputs[TOKENS].dtype == np.int32
        assert np.array_equal(samples.inputs[TOKENS], stream.samples(split).inputs[TOKENS])


def test_two_columns_of_tokens_are_an_error(config):
    with pytest.raises(ConfigError, match="one column of tokens or images"):
        config("{review: {kind: tokens}, number: {kind: tokens}}")


def test_the_coverage_of_tokens():
    assert fitted(length=3).coverage == (
        "the 3 words are 80% of those in the training texts; 1 texts are longer than 3, which cuts off "
        "10% of the tokens; 1 are empty, 1 missing"
    )
