import numpy as np
import polars as pl

from trainer.explain.words import MAX_PIECES, explain_texts, split_pieces


def test_texts_are_split_at_blanks_or_between_characters():
    assert split_pieces("a good book") == ["a ", "good ", "book "]
    assert split_pieces("书很好") == ["书", "很", "好"]
    assert split_pieces("") == []
    pieces = split_pieces(" ".join(f"w{number}" for number in range(250)))
    assert len(pieces) <= MAX_PIECES
    assert "".join(pieces).split() == [f"w{number}" for number in range(250)]


def test_influence_is_the_change_without_a_word():
    weights = {"good": 0.4, "bad": -0.3}

    def predict(frame):
        sums = [sum(weights.get(word, 0) for word in text.split()) for text in frame["t"]]
        p = 0.5 + np.array(sums) + frame["n"].to_numpy()
        return np.stack([1 - p, p], axis=1)

    frame = pl.DataFrame({"t": ["a good book", "bad", None], "n": [0.0, 0.1, 0.0]})
    first, second, third = explain_texts("t", frame, [4, 7, 9], ["yes"] * 3, ["no", "yes"], predict)
    assert (first.row, first.name, first.actual) == (4, "yes", "yes")
    assert first.prediction == 0.9
    assert [word.text for word in first.words] == ["a", "good", "book"]
    np.testing.assert_allclose([word.influence for word in first.words], [0, 0.4, 0], atol=1e-12)
    assert second.name == "no"
    np.testing.assert_allclose(second.words[0].influence, 0.3)
    assert third.words == ()
