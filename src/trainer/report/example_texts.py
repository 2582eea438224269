"""Generate Python code that encodes texts like the fitted preprocessing, for `example_code`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.data.ngrams import MAX_CHARACTERS, MAX_NORMALIZED
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import FIRST, UNKNOWN, TokenColumn


def text_imports(texts: Sequence[TextColumn], tokens: Sequence[TokenColumn]) -> Iterator[str]:
    """Yield the imports of standard packages that the functions for texts need."""
    if texts or _has_units(tokens):
        yield "import unicodedata"
    if texts:
        yield "from collections import Counter"


def text_functions(
    texts: Sequence[TextColumn], tokens: Sequence[TokenColumn]
) -> Iterator[list[str]]:
    """Yield the lines of each function that encodes texts."""
    if texts or _has_units(tokens):
        yield list(_cleaned_function(tokens))
        yield list(_split_function())
    if texts:
        yield list(_terms_function(texts))
    if tokens:
        yield list(_token_function(tokens))


def _has_units(tokens: Sequence[TokenColumn]) -> bool:
    """Return whether there are words or characters among the tokens."""
    return any(column.pieces is None for column in tokens)


def _cleaned_function(tokens: Sequence[TokenColumn]) -> Iterator[str]:
    """Clean a text like `trainer.data.ngrams.clean_text`."""
    forms = {column.normalize for column in tokens if column.pieces is None}
    form = 'column.get("normalize", "nfc").upper()' if forms - {"nfc"} else '"NFC"'
    short = f"len(word) < {MAX_NORMALIZED + 1}"
    if "none" in forms:
        short += ' and column.get("normalize") != "none"'
    yield "def cleaned(column, text):"
    yield f'    words = (text or "")[:{MAX_CHARACTERS}].split()'
    yield '    text = " ".join('
    yield f"        unicodedata.normalize({form}, word) if {short} else word"
    yield "        for word in words"
    yield "    )"
    yield '    return text.lower() if column["lowercase"] else text'


def _split_function() -> Iterator[str]:
    """Divide a text like `trainer.data.ngrams.split_units`."""
    yield "def split(text, unit, shortest):"
    yield '    if unit == "characters":'
    yield "        return list(text)"
    yield '    parts, word = [], ""'
    yield '    for character in text + " ":'
    yield "        category = unicodedata.category(character)"
    yield '        if character.isalnum() or character == "_" or category[0] == "M":'
    yield "            word += character"
    yield "            continue"
    yield "        if len(word) >= shortest:"
    yield "            parts.append(word)"
    yield '        word = ""'
    yield '        if category == "So":'
    yield "            parts.append(character)"
    yield "    return parts"


def _terms_function(texts: Sequence[TextColumn]) -> Iterator[str]:
    """Return ids and weights of terms like `trainer.data.text_columns.TextColumn.encode`."""
    count = "count"
    if any(column.sublinear for column in texts):
        count = '(1 + np.log(count) if column["sublinear"] else count)'
    yield "def text_terms(column, text, first):"
    yield "    text, pairs = cleaned(column, text), []"
    yield '    for table in column["tables"]:'
    yield '        units, (low, high) = split(text, table["unit"], 2), table["lengths"]'
    yield '        blank = " " if table["unit"] == "words" else ""'
    yield "        counts = Counter("
    yield "            blank.join(units[start : start + size])"
    yield "            for size in range(low, high + 1)"
    yield "            for start in range(len(units) - size + 1)"
    yield "        )"
    yield '        ids = {term: index for index, term in enumerate(table["terms"])}'
    yield "        weights = {}"
    yield "        for term in ids.keys() & counts.keys():"
    yield '            index, count, rows = ids[term], counts[term], column["documents"]'
    yield '            factor = np.log((1 + rows) / (1 + table["rows"][index])) + 1'
    yield f"            weights[first + index] = {count} * factor"
    yield "        norm = np.sqrt(sum(weight**2 for weight in weights.values()))"
    yield "        pairs += [(index + 1, weight / norm) for index, weight in weights.items()]"
    yield "        first += len(ids)"
    yield "    pairs.sort(key=lambda pair: (-pair[1], pair[0]))"
    yield '    pairs = pairs[: column["slots"]]'
    yield '    return pairs + [(0, 0)] * (column["slots"] - len(pairs))'


def _token_function(tokens: Sequence[TokenColumn]) -> Iterator[str]:
    """Return ids like `trainer.data.token_columns.TokenColumn.encode`; the settings of all networks are
    the same.
    """
    column = tokens[0]
    yield "def token_ids(column, text):"
    if column.pieces is None:
        yield f'    known = {{token: id for id, token in enumerate(column["tokens"], {FIRST})}}'
        yield '    units = split(cleaned(column, text), column["unit"], 1)'
        yield f"    ids = [known.get(unit, {UNKNOWN}) for unit in units]"
        yield "    prefix, suffix, pad = [], [], 0"
    else:
        yield '    pieces = column["pieces"]'
        yield '    tokenizer = Tokenizer.from_str(json.dumps(pieces["definition"]))'
        yield "    tokenizer.encode_special_tokens = True"
        yield f'    text = (text or "")[:{MAX_CHARACTERS}]'
        yield "    ids = tokenizer.encode(text, add_special_tokens=False).ids"
        yield '    prefix, suffix, pad = pieces["prefix"], pieces["suffix"], pieces["pad_id"]'
    yield '    room = column["length"] - len(prefix) - len(suffix)'
    match column.truncate:
        case "end":
            yield "    ids = ids[:room]"
        case "start":
            yield "    ids = ids[max(0, len(ids) - room) :]"
        case "middle":
            yield "    if len(ids) > room:"
            yield "        ids = ids[: (room + 1) // 2] + ids[len(ids) - room // 2 :]"
    yield "    ids = [*prefix, *ids, *suffix]"
    yield '    padding = [pad] * (column["length"] - len(ids))'
    yield f"    return {'padding + ids' if column.pads_at_start else 'ids + padding'}"
