"""The definitions of tokenizers in the form of a `tokenizer.json`, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from trainer.config.tokens import Normalize

PAD, UNKNOWN, FIRST_TOKEN, LAST_TOKEN = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
CONTINUATION = "##"


def wordpiece_definition(
    vocabulary: Mapping[str, int],
    specials: Sequence[str],
    normalization: Normalize,
    *,
    lowercase: bool,
    strip_accents: bool | None = None,
    split_chinese: bool = True,
) -> dict[str, Any]:
    """Return the definition of a WordPiece tokenizer, as that of BERT (Devlin et al., 2019).

    Args:
        vocabulary: The id of each token.
        specials: The special tokens of the vocabulary.
        normalization: Unicode normalization before that of BERT.
        lowercase: Whether texts are converted to lower case.
        strip_accents: Whether accents are removed; None if texts are converted to lower case.
        split_chinese: Whether each Chinese character is a word.
    """
    bert = {
        "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": split_chinese,
        "strip_accents": strip_accents, "lowercase": lowercase,
    }  # fmt: skip
    model = {
        "type": "WordPiece", "unk_token": UNKNOWN, "continuing_subword_prefix": CONTINUATION,
        "max_input_chars_per_word": 100, "vocab": dict(vocabulary),
    }  # fmt: skip
    split = {"type": "BertPreTokenizer"}
    return _whole(model, [*_unicode(normalization), bert], split, vocabulary, specials)


def byte_pair_definition(
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    specials: Sequence[str],
    normalization: Normalize,
    *,
    lowercase: bool,
) -> dict[str, Any]:
    """Return the definition of a byte-level BPE tokenizer, as that of GPT-2, with single blanks."""
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": dict(vocabulary), "merges": [list(pair) for pair in merges],
    }  # fmt: skip
    normalizers: list[dict[str, Any]] = [
        *_unicode(normalization),
        *([{"type": "Lowercase"}] if lowercase else []),
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Strip", "strip_left": True, "strip_right": True},
    ]
    split = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return _whole(model, normalizers, split, vocabulary, specials)


def _unicode(normalization: Normalize) -> list[dict[str, Any]]:
    kinds: Mapping[Normalize, Literal["NFC", "NFKC"]] = {"nfc": "NFC", "nfkc": "NFKC"}
    return [{"type": kinds[normalization]}] if normalization in kinds else []


def _whole(
    model: Mapping[str, Any],
    normalizers: Sequence[Mapping[str, Any]],
    split: Mapping[str, Any],
    vocabulary: Mapping[str, int],
    specials: Sequence[str],
) -> dict[str, Any]:
    """Return the content of a `tokenizer.json`."""
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    added = [
        {"id": vocabulary[token], "content": token, **dict.fromkeys(flags, False), "special": True}
        for token in sorted(specials, key=vocabulary.__getitem__)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": list(normalizers)},
        "pre_tokenizer": dict(split),
        "post_processor": _ends(vocabulary) if FIRST_TOKEN in specials else None,
        "decoder": None,
        "model": dict(model),
    }


def _ends(vocabulary: Mapping[str, int]) -> dict[str, Any]:
    """Return the processor that adds [CLS] before a text and [SEP] after it."""
    first, last = (
        {"SpecialToken": {"id": token, "type_id": 0}} for token in (FIRST_TOKEN, LAST_TOKEN)
    )
    text, pair = ({"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B"))
    return {
        "type": "TemplateProcessing",
        "single": [first, text, last],
        "pair": [first, text, last, pair, last],
        "special_tokens": {
            token: {"id": token, "ids": [vocabulary[token]], "tokens": [token]}
            for token in (FIRST_TOKEN, LAST_TOKEN)
        },
    }
