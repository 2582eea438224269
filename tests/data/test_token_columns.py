import numpy as np
import polars as pl
import pytest

from trainer.config.load import load_config
from trainer.config.tokens import Tokens
from trainer.data.prepare import prepare
from trainer.data.token_columns import TokenAccumulator
from trainer.errors import ConfigError
from trainer.inputs import TOKENS, InputSpec

TEXTS = ["a b c", "a b", "c a d d", None, "", "a"]


def fitted(texts=TEXTS, **settings):
    accumulator = TokenAccumulator(Tokens(**settings))
    accumulator.add(pl.Series("t", texts, dtype=pl.String))
    return accumulator.fitted("t")


def ids(column, *texts):
    return column.encode(pl.Series("t", texts, dtype=pl.String))[0].tolist()


def test_ids_count_from_the_most_frequent_token():
    column = fitted(length=4)
    assert column.tokens == ("a", "b", "c")
    assert (column.missing, column.empty, column.truncated) == (1, 1, 0)
    assert column.known == pytest.approx(8 / 10)
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
    assert column.truncated == 1


def test_characters():
    column = fitted(["好书", "好 书"], length=3)
    assert column.unit == "characters"
    assert sorted(column.tokens) == ["书", "好"]
    assert fitted(["好书", "好书"], unit="words").tokens == ("好书",)


def test_texts_without_known_tokens_are_unseen():
    column = fitted()
    _, unknown = column.encode(pl.Series("t", ["zz", "zz a", "", None]))
    assert unknown.tolist() == [True, False, False, False]


def test_limits_of_the_vocabulary():
    assert fitted(min_count=3).tokens == ("a",)
    assert fitted(max_tokens=2).tokens == ("a", "b")
    assert fitted(["x", "y"]) is None


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

    def load(columns):
        path = tmp_path / "c.yaml"
        tokens = "tokens: {length: 5, dimension: 4}"
        path.write_text(f"data: {{source: t.csv, target: label, {tokens}, columns: {columns}}}\n")
        return load_config(path).config

    return load


def test_tokens_are_an_input(config):
    settings = config("{review: {kind: tokens}}")
    dataset, stream = prepare(settings), prepare(settings, streamed=True)
    assert InputSpec(TOKENS, (5,), "int32") in dataset.preprocessing.inputs
    assert dataset.preprocessing == stream.preprocessing
    for split in ("train", "validation"):
        samples = dataset.samples(split)
        assert samples.inputs[TOKENS].dtype == np.int32
        assert np.array_equal(samples.inputs[TOKENS], stream.samples(split).inputs[TOKENS])


def test_two_columns_of_tokens_are_an_error(config):
    with pytest.raises(ConfigError, match="one column of tokens or images"):
        config("{review: {kind: tokens}, number: {kind: tokens}}")


def test_the_coverage_of_tokens():
    assert fitted(length=3).coverage == (
        "the 3 words are 80% of those in the training texts; 1 are cut off after 3, 1 are empty, "
        "1 missing"
    )
