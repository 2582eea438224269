"""Files of tokens, compared with the tokenizers of the package `tokenizers`."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.vocabularies import SPECIALS, WORDS, byte_level_file, write_vocabulary
from trainer.config.tokens import Tokens
from trainer.data.token_pieces import FittedPieces
from trainer.data.vocabulary_files import read_vocabulary
from trainer.errors import DataError

tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    "The book was great!",
    "a dull,dull book",
    "Books: greatly good…",
    "好书 [SEP] [PAD]",
    "",
    " \x00 ",
]


def read(path, **settings):
    return read_vocabulary(Tokens(vocabulary=str(path), **settings))


def ids(pieces, text):
    return pieces.encode([text])[0].tolist()


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces_are_those_of_bert(tmp_path, lowercase):
    path = write_vocabulary(tmp_path)
    pieces = read(path, lowercase=lowercase)
    oracle = tokenizers.BertWordPieceTokenizer(str(path), lowercase=lowercase)
    for text in TEXTS[:3]:
        expected = oracle.encode(text).ids
        assert [*pieces.prefix, *ids(pieces, text), *pieces.suffix] == expected
    assert (pieces.pad_id, pieces.unknown_id, pieces.size) == (0, 1, len(SPECIALS) + len(WORDS))
    assert (pieces.prefix, pieces.suffix) == ((2,), (3,))


def test_special_tokens_in_a_text_are_text(tmp_path):
    pieces = read(write_vocabulary(tmp_path))
    assert not {0, 2, 3} & set(ids(pieces, "好书 [SEP] [PAD] [CLS]"))


def test_a_folder_has_settings(tmp_path):
    write_vocabulary(tmp_path, do_lower_case=False)
    cased = read(tmp_path)
    assert ids(cased, "The") == [1]
    assert ids(read(tmp_path, lowercase=True), "The") == [SPECIALS.index("[MASK]") + 1]


@pytest.mark.parametrize(("words", "known"), [(("the", "book"), True), (("The", "the"), False)])
def test_a_vocabulary_with_upper_case_letters_is_case_sensitive(tmp_path, words, known):
    pieces = read(write_vocabulary(tmp_path, *words))
    assert (ids(pieces, "THE") != [1]) is known


def test_byte_level_pieces_are_those_of_the_file(tmp_path):
    path = byte_level_file(tmp_path, TEXTS * 9)
    oracle = tokenizers.Tokenizer.from_file(str(path))
    for pieces in (read(path), read(tmp_path)):
        assert (pieces.model, pieces.pad_id, pieces.unknown_id) == ("BPE", 1, None)
        assert (pieces.prefix, pieces.suffix) == ((0,), (2,))
        for text in TEXTS:
            expected = oracle.encode(text, add_special_tokens=False).ids
            assert ids(pieces, text) == expected
    assert read(path, special_tokens=False).prefix == ()


def test_a_definition_survives_its_json(tmp_path):
    pieces = read(byte_level_file(tmp_path, TEXTS * 9))
    again = FittedPieces.model_validate_json(pieces.model_dump_json())
    assert again == pieces
    assert list(again.problems("x")) == []
    assert ids(again, TEXTS[2]) == ids(pieces, TEXTS[2])
    other = again.model_copy(update={"size": again.size + 1, "pad_id": 10**6})
    assert list(other.problems("x")) == [f"{again.size + 1} at x.size", "1000000 at x.pad_id"]
    broken = again.model_copy(update={"definition": {"model": {"type": "BPE"}}})
    assert [line.endswith(" at x.definition") for line in broken.problems("x")] == [True]


@settings(max_examples=40)
@given(st.text(max_size=60))
def test_any_text_has_ids_of_the_vocabulary(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "any"
    pieces = read(folder if folder.exists() else write_vocabulary(folder))
    encoded, counts = pieces.encode([text, "the book", text])
    assert encoded.dtype == np.int32
    assert counts[1] == 2
    assert counts[0] == counts[2]
    assert len(encoded) == counts.sum()
    assert ((encoded >= 0) & (encoded < pieces.size)).all()


def test_lone_surrogates_do_not_fail(tmp_path):
    assert ids(read(write_vocabulary(tmp_path)), "the \ud800 book") == [5, 6]


BAD = {
    "missing": (lambda path: path / "no", "found none; copy vocab.txt or tokenizer.json"),
    "folder without tokens": (lambda path: path, "found config.json; save it as tokenizer.json"),
    "other file": (lambda path: path / "config.txt", "one token a line, [UNK], [CLS], [SEP] among"),
    "vocab.json": (lambda path: path / "vocab.json", "found 'vocab.json'; save it as tokenizer.json"),
    "not JSON": (lambda path: path / "bad.json", "expected JSON, at"),
    "a list": (lambda path: path / "list.json", "expected a JSON object, at"),
    "not a tokenizer": (lambda path: path / "config.json", "a tokenizer.json of the package"),
    "not UTF-8": (lambda path: path / "latin.txt", "text in UTF-8"),
    "no model": (lambda path: path / "model.json", "a tokenizer.json of the package"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_files_that_cannot_be_used(tmp_path, case):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 3}')
    if case != "folder without tokens":
        (folder / "config.txt").write_text("the\nbook\n")
        (folder / "vocab.json").write_text("{}")
        (folder / "bad.json").write_text("{")
        (folder / "list.json").write_text("[]")
        (folder / "latin.txt").write_bytes(b"[UNK]\n[CLS]\n[SEP]\n\xe9t\xe9\n")
        (folder / "model.json").write_text('{"model": {"vocab": {"[PAD]": 0}}, "version": "1.0"}')
    where, mention = BAD[case]
    with pytest.raises(DataError) as raised:
        read(where(folder))
    (problem,) = raised.value.problems
    assert problem.key == "data.tokens.vocabulary"
    assert mention in str(problem)


def test_settings_that_do_not_fit_the_file(tmp_path):
    path = write_vocabulary(tmp_path)
    with pytest.raises(DataError, match="tokenizer: bpe to be that of the vocabulary"):
        read(path, tokenizer="bpe")
    assert read(path, tokenizer="wordpiece").model == "WordPiece"
    no_padding = tmp_path / "tokenizer.json"
    definition = read(path, special_tokens=False).definition
    vocabulary = {"[UNK]": 0, "the": 1}
    added = [token for token in definition["added_tokens"] if token["content"] == "[UNK]"]
    added[0]["id"] = 0
    no_padding.write_text(
        json.dumps({**definition, "added_tokens": added,
                    "model": {**definition["model"], "vocab": vocabulary}})
    )  # fmt: skip
    with pytest.raises(DataError, match="a token for padding"):
        read(no_padding)


def test_lower_case_and_normalization_of_a_tokenizer_file(tmp_path):
    definition = read(write_vocabulary(tmp_path), lowercase=False).definition
    path = Path(tmp_path / "other.json")
    path.write_text(json.dumps(definition))
    assert ids(read(path), "THE ｂｏｏｋ") == [1, 1]
    assert ids(read(path, lowercase=True), "THE") == [5]
    assert ids(read(path, normalize="nfkc"), "ｂｏｏｋ") == [6]
    definition["normalizer"] = {"type": "Lowercase"}
    path.write_text(json.dumps(definition))
    assert ids(read(path), "THE") == [5]
    assert ids(read(path, lowercase=False), "THE the") == [1, 5]
