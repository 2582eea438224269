"""Exports of runs that translate: their comparison with `predict`, and code that calls them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from trainer.errors import Problem
from trainer.export.schema import SCHEMA_KEY, Schema

TEXT_TOLERANCE = 1e-4
"""Largest relative difference from `predict` of the logarithm of the probability of a text, which is a
sum over its tokens; absolute for logarithms between -1 and 1."""
_ROWS_PER_OTHER_TEXT = 1_000


def accepted_texts(rows: int) -> int:
    """Return how many texts may differ from those of `predict`.

    If two tokens are equally likely up to rounding, a text can continue differently.
    """
    return max(1, rows // _ROWS_PER_OTHER_TEXT)


def compare_texts(expected: pl.DataFrame, found: pl.DataFrame) -> tuple[float, str, int]:
    """Compare the predictions of an export with those of the run.

    Returns:
        The greatest difference of a number for equal texts, its column, and the number of rows with
        another text or another flag of unseen values.
    """
    is_equal = np.ones(expected.height, np.bool_)
    for name, dtype in expected.schema.items():
        if not dtype.is_float():
            is_equal &= (expected[name] == found[name]).to_numpy()
    greatest, column = 0.0, ""
    for name, dtype in expected.schema.items():
        if dtype.is_float():
            a, b = (frame[name].to_numpy().astype(np.float64) for frame in (expected, found))
            differences = np.abs(a - b) / np.maximum(1.0, np.abs(a))
            measured = float(np.max(differences[is_equal], initial=0.0))
            if not column or measured > greatest:
                greatest, column = measured, name
    return greatest, column, int(np.count_nonzero(~is_equal))


def text_problem(where: str, difference: float, tolerance: float, others: str) -> Problem:
    """Return the problem of an export whose texts do not agree with `predict`."""
    found = f"{others}; logarithms of probabilities that differ by {difference:.2g}"
    return Problem(
        where,
        f"the translations of trainer predict, and their log_probability within {tolerance:g} of it",
        found,
        "nothing was written; translate with trainer predict, or with trainer.load in Python",
    )


def translation_snippet(schema: Schema, file_name: str) -> list[str]:
    """Return code that translates texts with ONNX Runtime, NumPy and tokenizers.

    All else that it needs is in the file: tokenizers, ids and lengths.
    """
    (field,) = schema.inputs
    output = schema.output("text")
    assert field.fitted is not None, "the source has tokens"
    assert output is not None, "the run translates"
    assert output.fitted is not None, "the target has tokens"
    decoder = _decoder(output.fitted["column"]["pieces"]["definition"])
    return [
        "import json",
        "",
        "import numpy as np",
        "import onnxruntime",
        "from tokenizers import Tokenizer" + (", decoders" if decoder else ""),
        "",
        f"session = onnxruntime.InferenceSession({file_name!r})",
        f"schema = json.loads(session.get_modelmeta().custom_metadata_map[{SCHEMA_KEY!r}])",
        "source = schema['inputs'][0]",
        "target = next(output for output in schema['outputs'] if output['role'] == 'text')",
        "read, written = source['fitted']['pieces'], target['fitted']['column']['pieces']",
        "definitions = [json.dumps(pieces['definition']) for pieces in (read, written)]",
        "reader, writer = map(Tokenizer.from_str, definitions)",
        "reader.encode_special_tokens = True",
        *([f"writer.decoder = {decoder}"] if decoder else []),
        "",
        "",
        "def translate(texts):",
        "    length = source['fitted']['length']",
        "    room = length - len(read['prefix']) - len(read['suffix'])",
        "    ids = np.full((len(texts), length), read['pad_id'], np.int32)",
        "    for row, encoding in zip(ids, reader.encode_batch(texts, add_special_tokens=False)):",
        f"        tokens = [*read['prefix'], *{_cut(field.fitted['truncate'])}, *read['suffix']]",
        "        row[: len(tokens)] = tokens",
        "    rows = session.run([target['name']], {source['name']: ids})[0].tolist()",
        "    end = written['suffix'][0]",
        "    rows = [row[: row.index(end)] if end in row else row for row in rows]",
        "    return [' '.join(text.split()) for text in writer.decode_batch(rows)]",
        "",
        "",
        "print(translate(['a text']))",
    ]


def _cut(truncate: str) -> str:
    """Return the expression of the tokens of a text that there is room for."""
    match truncate:
        case "start":
            return "encoding.ids[-room:]"
        case "middle":
            return (
                "(encoding.ids if len(encoding.ids) <= room else encoding.ids[: (room + 1) // 2] + "
                "encoding.ids[len(encoding.ids) - room // 2 :])"
            )
    return "encoding.ids[:room]"


def _decoder(definition: dict[str, Any]) -> str:
    """Return the decoder that `trainer.data.token_pieces` adds to a definition without one; "" for one
    with it.
    """
    if definition.get("decoder") is not None:
        return ""
    if definition["model"].get("type") == "WordPiece":
        prefix = definition["model"].get("continuing_subword_prefix", "##")
        return f"decoders.WordPiece(prefix={prefix!r}, cleanup=True)"
    return "decoders.ByteLevel()"
