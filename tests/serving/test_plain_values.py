"""Values of common types are converted as `trainer predict` reads them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.files import field, schema
from trainer.export.rows import RowEncoder
from trainer.export.schema import Schema
from trainer.serving.plain_values import plain_converter

WORDS = st.sampled_from(["yes", "No", "TRUE", "f", "1", "0.0", "on", " yes", "", "perhaps", "２"])
DATES = st.sampled_from(
    [
        "2021-02-28", "2021-02-29", "0000-01-01", "2021-02-28\n", "20210228", "2021-W08-7",
        "2021-02-28T23:59", "2021-02-28 23:59:58.123456789", "2021-02-28T23:59:58,5+02",
        "2021-02-28T24:00", "2021-02-28T23:59Z", "1899-12-31T00:00:00-05:30", "2021-02-28T23:59+0145",
        "2021-02-28T23:59+25:00", "", "soon",
    ]
)  # fmt: skip
LEVELS = st.sampled_from(
    ["red", " Red ", "RED", "1.0", "+2", "", "  ", "\u3000", "\u200b", "ŒUVRE", "Straße", "İ"]
)
VALUES = {
    "boolean": WORDS | st.booleans(),
    "datetime": DATES | st.datetimes().map(str) | st.dates().map(str),
    "category": LEVELS | st.text(max_size=4),
}


@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_plain_values_are_converted_as_parsed_ones(
    kind: str, ignore_case: bool, data: st.DataObject
) -> None:
    values: list[Any] = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=4))
    dtype = "string" if kind == "category" else "float64"
    entry = field(
        "x", kind, dtype, ignore_case=ignore_case, missing=data.draw(st.sampled_from(["", "?"]))
    )
    described = Schema.from_json(json.dumps(schema(inputs=[entry], example={})))
    convert = plain_converter(described.inputs[0])
    assert convert is not None
    found = convert(values)
    if found is None:
        assert kind != "category"
        return
    texts = [None if value is None else str(value) for value in values]
    expected = RowEncoder(described).encode(pl.DataFrame({"x": pl.Series(texts, dtype=pl.String)}))[
        "x"
    ]
    if kind == "category":
        np.testing.assert_array_equal(found, expected)
    else:
        # Polars multiplies by the inverse of a million.
        np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_usual_values_are_not_parsed() -> None:
    usual = {
        "boolean": ["yes", None, False],
        "datetime": ["2021-02-28T23:59", None],
        "category": ["A"],
    }
    for kind, values in usual.items():
        entry = field("x", kind, "float64", ignore_case=True, missing="")
        described = Schema.from_json(json.dumps(schema(inputs=[entry], example={})))
        convert = plain_converter(described.inputs[0])
        assert convert is not None
        assert convert(values) is not None
