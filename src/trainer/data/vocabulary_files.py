"""Read the tokens of a pretrained network: `vocab.txt` of a WordPiece tokenizer, or `tokenizer.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config.tokens import VOCABULARY_KEY, Tokens
from trainer.data.token_definitions import (
    FIRST_TOKEN,
    LAST_TOKEN,
    PAD,
    UNKNOWN,
    wordpiece_definition,
)
from trainer.data.token_pieces import DefinitionError, FittedPieces, describe
from trainer.errors import DataError, Problem

TOKENIZER, VOCABULARY, SETTINGS = "tokenizer.json", "vocab.txt", "tokenizer_config.json"
MASK = "[MASK]"
_PADDING = (PAD, "<pad>", "<|padding|>", "<|endoftext|>")
_MAX_BYTES = 200_000_000
_SAVE = (
    "save it as tokenizer.json, on a machine with the package transformers: "
    "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)


@dataclass(frozen=True, slots=True)
class _File:
    """A file of tokens, and the settings beside it."""

    path: Path
    content: bytes
    settings: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def read_vocabulary(settings: Tokens) -> FittedPieces:
    """Read the file or folder that `data.tokens.vocabulary` names.

    Raises:
        DataError: It cannot be read, is not of this form, or does not fit the settings; or the package
            `tokenizers` is not installed.
    """
    assert settings.vocabulary is not None, "there is a vocabulary"
    file = _read(_find(Path(settings.vocabulary)))
    is_list = file.path.suffix == ".txt"
    definition = _from_list(file, settings) if is_list else _from_json(file, settings)
    try:
        pieces = describe(
            definition,
            with_special_tokens=settings.has_special_tokens,
            pad_id=_pad_id(file, definition),
            source_sha256=file.sha256,
        )
    except DefinitionError as error:
        expected = "a tokenizer.json of the package tokenizers"
        raise _problem(file.path, expected, str(error), _SAVE) from error
    if settings.tokenizer not in ("auto", pieces.model.lower()):
        expected = f"tokenizer: {settings.tokenizer} to be that of the vocabulary"
        fix = "remove data.tokens.tokenizer"
        raise DataError(Problem("", expected, pieces.model, fix, "data.tokens.tokenizer"))
    if settings.special_tokens is True and not (pieces.prefix or pieces.suffix):
        expected, fix = "a vocabulary with special tokens", "remove data.tokens.special_tokens"
        raise _problem(file.path, expected, "none", fix)
    return pieces


def _find(path: Path) -> Path:
    """Return the file of tokens that a path names."""
    if not path.exists():
        fix = (
            f"copy {VOCABULARY} or {TOKENIZER} of the pretrained network there, or correct the path"
        )
        raise _problem(
            path, f"{VOCABULARY}, {TOKENIZER}, or a folder with one of them", "none", fix
        )
    if not path.is_dir():
        if path.suffix not in (".txt", ".json") or path.name == "vocab.json":
            raise _problem(path, f"{VOCABULARY} or {TOKENIZER}", f"'{path.name}'", _SAVE)
        return path
    for name in (TOKENIZER, VOCABULARY):
        if (path / name).is_file():
            return path / name
    names = sorted(item.name for item in path.iterdir())
    found = ", ".join(names[:8]) + (", …" if len(names) > 8 else "") or "an empty folder"
    raise _problem(path, f"{TOKENIZER} or {VOCABULARY} in the folder", found, _SAVE)


def _read(path: Path) -> _File:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _problem(path, f"at most {_MAX_BYTES:,} bytes", f"{path.stat().st_size:,}", "")
        content = path.read_bytes()
    except OSError as error:
        found = error.strerror or str(error)
        raise _problem(path, "a file that can be read", found, "correct the path") from error
    beside = path.with_name(SETTINGS)
    settings = _parsed(beside, beside.read_bytes()) if beside.is_file() else {}
    return _File(path, content, settings)


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    """Return the mapping in a JSON file."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _problem(path, "JSON", str(error), "copy the file again") from error
    if not isinstance(parsed, dict):
        raise _problem(path, "a JSON object", type(parsed).__name__, "copy the file again")
    return parsed


def _from_list(file: _File, settings: Tokens) -> dict[str, Any]:
    """Return the definition of a tokenizer with one token a line, the first of which is 0."""
    try:
        lines = file.content.decode("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise _problem(file.path, "text in UTF-8", str(error), "copy the file again") from error
    vocabulary = {line.rstrip(): number for number, line in enumerate(lines)}
    needed = [UNKNOWN, *([FIRST_TOKEN, LAST_TOKEN] if settings.has_special_tokens else [])]
    missing = [token for token in needed if token not in vocabulary]
    if missing:
        found = f"no {', '.join(missing)} in {len(lines):,} lines"
        fix = "use the vocab.txt of a BERT, or tokenizer.json of another network"
        raise _problem(file.path, f"one token a line, {', '.join(needed)} among them", found, fix)
    specials = [
        token for token in (PAD, UNKNOWN, FIRST_TOKEN, LAST_TOKEN, MASK) if token in vocabulary
    ]
    if not settings.has_special_tokens:
        specials = [token for token in specials if token not in (FIRST_TOKEN, LAST_TOKEN)]
    strips = file.settings.get("strip_accents")
    return wordpiece_definition(
        vocabulary,
        specials,
        "none" if settings.normalize == "auto" else settings.normalize,
        lowercase=_ignores_case(file, settings, vocabulary),
        strip_accents=strips if isinstance(strips, bool) else None,
        split_chinese=file.settings.get("tokenize_chinese_chars") is not False,
    )


def _ignores_case(file: _File, settings: Tokens, vocabulary: Mapping[str, int]) -> bool:
    """Return whether texts become lower case: as set, as in the settings beside the file, or if no token
    has an upper-case letter.
    """
    if isinstance(settings.lowercase, bool):
        return settings.lowercase
    stated = file.settings.get("do_lower_case")
    if isinstance(stated, bool):
        return stated
    return not any(token != token.lower() for token in vocabulary if not token.startswith("["))


def _from_json(file: _File, settings: Tokens) -> dict[str, Any]:
    """Return the definition in a `tokenizer.json`, with the normalization that is set."""
    definition = {**_parsed(file.path, file.content), "truncation": None, "padding": None}
    if not isinstance(definition.get("model"), dict):
        found = f"the keys {', '.join(map(str, definition))}"
        raise _problem(file.path, "a tokenizer.json of the package tokenizers", found, _SAVE)
    before: list[dict[str, Any]] = []
    if settings.normalize in ("nfc", "nfkc"):
        before.append({"type": settings.normalize.upper()})
    normalizers = _normalizers(definition.get("normalizer"))
    if isinstance(settings.lowercase, bool):
        normalizers = _with_case(normalizers, lowercase=settings.lowercase)
    changed = [*before, *normalizers]
    if changed != _normalizers(definition.get("normalizer")):
        definition["normalizer"] = {"type": "Sequence", "normalizers": changed}
    return definition


def _normalizers(value: object) -> list[dict[str, Any]]:
    """Return the steps of a normalizer, in order."""
    if not isinstance(value, dict):
        return []
    steps = value.get("normalizers")
    if value.get("type") == "Sequence" and isinstance(steps, list):
        return [inner for step in steps for inner in _normalizers(step)]
    return [value]


def _with_case(normalizers: Sequence[dict[str, Any]], *, lowercase: bool) -> list[dict[str, Any]]:
    """Return the steps of a normalizer that ignores case, or does not."""
    kept = [
        {**step, "lowercase": lowercase} if step.get("type") == "BertNormalizer" else step
        for step in normalizers
        if step.get("type") != "Lowercase"
    ]
    is_bert = any(step.get("type") == "BertNormalizer" for step in kept)
    return [{"type": "Lowercase"}, *kept] if lowercase and not is_bert else kept


def _pad_id(file: _File, definition: Mapping[str, Any]) -> int:
    """Return the id of padding."""
    vocabulary = definition["model"].get("vocab")
    known: dict[str, int] = {}
    if isinstance(vocabulary, dict):
        known |= vocabulary
    elif isinstance(vocabulary, list):
        # Of a unigram tokenizer: pairs of a token and its score.
        known |= {
            item[0]: number
            for number, item in enumerate(vocabulary)
            if isinstance(item, list) and item
        }
    added = definition.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            known[str(token.get("content"))] = token["id"]
    stated = file.settings.get("pad_token")
    stated = stated.get("content") if isinstance(stated, dict) else stated
    names = [name for name in (stated, *_PADDING) if isinstance(name, str) and name in known]
    if not names:
        expected = f"a token for padding, such as {PAD} or <pad>"
        raise _problem(file.path, expected, f"none in {len(known):,} tokens", "add it to the file")
    return int(known[names[0]])


def _problem(path: Path, expected: str, found: str, fix: str) -> DataError:
    return DataError(Problem("", f"{expected}, at {path}", found, fix, VOCABULARY_KEY))
