import json
import random

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from trainer.config.load import load_config
from trainer.config.text import Text
from trainer.data.prepare import prepare
from trainer.data.preprocessing import Preprocessing
from trainer.data.text_columns import grid_size
from trainer.data.text_fitting import TextAccumulator
from trainer.inputs import FEATURES, TERMS


def sentences(count, seed=0, words=40):
    generator = random.Random(seed)
    known = [
        "".join(generator.choices("abcdeé这书", k=generator.randint(2, 5))) for _ in range(words)
    ]
    return [" ".join(generator.choices(known, k=generator.randint(1, 12))) for _ in range(count)]


def fitted(texts, **settings):
    accumulator = TextAccumulator(Text(**settings))
    accumulator.add(pl.Series("t", texts, dtype=pl.String))
    return accumulator.fitted("t")


def dense(column, texts):
    pairs, unknown = column.encode(pl.Series("t", texts, dtype=pl.String))
    matrix = np.zeros((len(texts), column.term_count + 1))
    np.add.at(matrix, (np.arange(len(texts))[:, None], pairs[..., 0].astype(int)), pairs[..., 1])
    return matrix[:, 1:], unknown


@pytest.mark.parametrize(
    ("settings", "ours"),
    [
        ({"analyzer": "word", "ngram_range": (1, 2)}, {"analyzer": "words"}),
        ({"analyzer": "char", "ngram_range": (1, 3)}, {"analyzer": "characters"}),
        (
            {"analyzer": "word", "ngram_range": (2, 3), "min_df": 3, "sublinear_tf": True},
            {"analyzer": "words", "word_ngrams": [2, 3], "min_count": 3, "sublinear": True},
        ),
        ({"analyzer": "word", "lowercase": False}, {"analyzer": "words", "word_ngrams": [1, 1],
                                                     "lowercase": False}),
    ],
)  # fmt: skip
def test_weights_are_those_of_scikit_learn(settings, ours):
    train, test = sentences(300), [*sentences(50, seed=5, words=60), "", "zzzz zzzz"]
    train[7] = train[7].upper()
    vectorizer = TfidfVectorizer(**{"min_df": 2, **settings}).fit(train)
    column = fitted(train, **ours)
    (table,) = column.tables
    assert sorted(table.terms) == sorted(vectorizer.get_feature_names_out())
    order = [vectorizer.vocabulary_[term] for term in table.terms]
    for texts in (train, test):
        matrix, unknown = dense(column, texts)
        theirs = vectorizer.transform(texts).toarray()[:, order]
        np.testing.assert_allclose(matrix, theirs, atol=1e-6)
        has_none = (theirs == 0).all(axis=1) & np.array([bool(text) for text in texts])
        assert unknown.tolist() == has_none.tolist()


def test_words_and_characters_have_a_norm_each():
    texts = sentences(100)
    column = fitted(texts, analyzer="both")
    assert [table.unit for table in column.tables] == ["words", "characters"]
    matrix, _ = dense(column, texts)
    words = len(column.tables[0].terms)
    for part in (matrix[:, :words], matrix[:, words:]):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-6)


def test_the_unit_is_that_of_the_script():
    assert fitted(["这本书很好看"] * 3).tables[0].unit == "characters"
    assert fitted(["a good book"] * 3).tables[0].unit == "words"


def test_frequent_terms_are_kept_in_order():
    texts = ["aa bb cc", "aa bb", "aa dd", "dd", "aa"]
    column = fitted(texts, word_ngrams=[1, 1], max_terms=2, analyzer="words")
    assert column.terms == ("aa", "bb")  # bb and dd are equally frequent
    assert column.tables[0].rows == (4, 2)
    assert column.known == pytest.approx(6 / 9)


def test_the_largest_weights_of_a_row_are_kept():
    texts = [*sentences(200), " ".join(sentences(30))]
    column = fitted(texts)
    full = fitted(texts, max_row_terms=1024).model_copy(update={"slots": 1024})
    assert column.slots == grid_size(column.slots) < 200
    matrix, _ = dense(column, texts[-1:])
    complete, _ = dense(full, texts[-1:])
    kept = np.flatnonzero(matrix[0])
    assert len(kept) == column.slots
    np.testing.assert_allclose(matrix[0, kept], complete[0, kept])
    assert matrix[0, kept].min() >= np.delete(complete[0], kept).max()


def test_a_row_is_encoded_like_a_batch():
    texts = sentences(120)
    column = fitted(texts)
    pairs, _ = column.encode(pl.Series("t", texts))
    for row in (0, 60, 119):
        alone, _ = column.encode(pl.Series("t", texts[row : row + 1]))
        assert np.array_equal(alone[0], pairs[row])


def test_parts_have_the_same_counts_as_all_texts(monkeypatch):
    texts = sentences(2_500)
    whole = fitted(texts, analyzer="auto")
    monkeypatch.setattr("trainer.data.text_fitting.CHUNK_CHARACTERS", 3_000)
    parts = TextAccumulator(Text())
    for start in range(0, len(texts), 700):
        parts.add(pl.Series("t", texts[start : start + 700]))
    assert parts.fitted("t") == whole


def test_missing_empty_and_hostile_texts():
    texts = [
        None,
        "",
        " \n",
        "good 😀 book",
        "good \x00 book",
        "\u200fטוב\u200f good",
        "x" * 1_000_000,
        "good a\u0301",
    ]
    column = fitted(texts, min_count=1)
    assert (column.missing, column.empty, column.documents) == (1, 2, 8)
    matrix, unknown = dense(column, texts)
    assert np.isfinite(matrix).all()
    assert not matrix[:3].any()
    assert not unknown.any()
    matrix, unknown = dense(column, ["never seen", None, "good never"])
    assert unknown.tolist() == [True, False, False]
    assert fitted(["aa", "bb"]) is None


def test_numbers_can_be_texts():
    column = fitted_series(pl.Series("t", [10, 10, 25, None]))
    assert column.terms == ("10",)


def fitted_series(series):
    accumulator = TextAccumulator(Text(word_ngrams=[1, 1]))
    accumulator.add(series)
    return accumulator.fitted("t")


@pytest.fixture
def table(tmp_path):
    texts = sentences(200)
    frame = pl.DataFrame(
        {
            "title": [text.split()[0] if row % 9 else None for row, text in enumerate(texts)],
            "number": np.arange(200) % 17,
            "body": texts,
            "kind": ["x", "y"] * 100,
            "label": ["yes" if "a" in text else "no" for text in texts],
        }
    )
    frame.write_csv(tmp_path / "t.csv")
    config = tmp_path / "c.yaml"
    config.write_text(
        "data:\n"
        "  source: t.csv\n"
        "  target: label\n"
        "  categorical: {encode: embedding}\n"
        "  text: {dimension: 5}\n"
        "  columns:\n"
        "    title: {kind: text, min_count: 1}\n"
        "    body: {kind: text, word_ngrams: [1, 1]}\n"
    )
    return config


def test_texts_beside_other_columns(table):
    dataset = prepare(load_config(table).config)
    preprocessing = dataset.preprocessing
    title, body = preprocessing.texts
    assert (title.name, body.name) == ("title", "body")
    slots = title.slots + body.slots
    terms = 1 + title.term_count + body.term_count
    assert {spec.name: spec.shape for spec in preprocessing.inputs} == {
        FEATURES: (1,), "categories": (1,), TERMS: (slots, 2),
    }  # fmt: skip
    assert preprocessing.term_vectors == (grid_size(terms), 5)
    places = preprocessing.input_columns
    assert (places["title"].input, places["title"].columns) == (TERMS, slice(0, title.slots))
    assert places["body"].columns == slice(title.slots, slots)
    samples = dataset.samples("train")
    ids = samples.inputs[TERMS][..., 0]
    assert ids[:, : title.slots].max() == title.term_count
    used = ids[:, title.slots :][ids[:, title.slots :] > 0]
    assert (used.min(), used.max()) == (title.term_count + 1, terms - 1)
    assert title.missing == int(dataset.table.frame["title"][samples.rows].null_count())


def test_terms_are_those_of_training_rows_only(table):
    dataset = prepare(load_config(table).config)
    rows = dataset.samples("train").rows
    texts = dataset.table.frame["body"][rows].to_list()
    expected = TfidfVectorizer(min_df=2).fit(texts)
    column = dataset.preprocessing.texts[1]
    assert set(column.terms) == set(expected.get_feature_names_out())
    assert column.documents == len(rows)


def test_a_streamed_table_has_the_same_arrays(table):
    config = load_config(table).config
    memory, stream = prepare(config), prepare(config, streamed=True)
    assert memory.preprocessing.texts == stream.preprocessing.texts
    for split in ("train", "validation", "test"):
        one, other = memory.samples(split), stream.samples(split)
        assert np.array_equal(one.inputs[TERMS], other.inputs[TERMS])
        other.release_pages()


def test_the_preprocessing_is_plain_json(table):
    preprocessing = prepare(load_config(table).config).preprocessing
    content = json.loads(json.dumps(preprocessing.to_json()))
    assert Preprocessing.from_json(content) == preprocessing


def test_sizes_are_rounded_up_to_a_grid():
    sizes = [grid_size(count) for count in range(1, 5_000)]
    assert sizes == sorted(sizes)
    assert all(count <= size <= 1.25 * count for count, size in enumerate(sizes, 1))
    assert len(set(sizes)) < 50


def test_the_coverage_of_texts_is_a_hint(table):
    hints = prepare(load_config(table).config).hints
    assert any(
        hint.startswith("'body': the ") and "0 are empty, 0 missing" in hint for hint in hints
    )
