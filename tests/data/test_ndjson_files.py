from __future__ import annotations

import gzip

import polars as pl
import pytest

from trainer.data.ndjson_files import NESTED, ndjson_line, read_ndjson, read_ndjson_blocks
from trainer.errors import DataError


def test_values_are_text(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_text('{"a": 1, "b": "x"}\n\n{"b": true, "a": 1.50}\n{"a": NaN, "c": " "}\n')
    frame = read_ndjson(path)
    assert frame.to_dict(as_series=False) == {
        "a": ["1", "1.50", None],
        "b": ["x", "true", None],
        "c": [None, None, None],
    }
    assert ndjson_line(path, 1) == 3


@pytest.mark.parametrize(
    ("line", "found"),
    [("[1]", "a list"), ("3", "the value '3'"),
     ("{broken", "'{broken'"), ('{"a":' * 5000, "")],
)  # fmt: skip
def test_error_gives_the_line(tmp_path, line, found):
    path = tmp_path / "x.ndjson"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        read_ndjson(path)
    assert caught.value.problems[0].where == f"{path}:2"
    assert found in caught.value.problems[0].found


def test_lists_and_objects_are_kept_as_json_text(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_text(
        '{"a": "x", "b": {"n": 1.50, "ü": [null]}}\n{"a": [1], "b": null}\n{"a": "y"}\n'
    )
    frame = read_ndjson(path)
    assert frame.schema == {"a": NESTED, "b": NESTED}
    assert frame["a"].to_list() == [["x"], ["[1]"], ["y"]]
    assert frame["b"].to_list() == [['{"n": 1.5, "ü": [null]}'], None, None]


def test_column_nested_in_a_later_block_is_nested_in_all(tmp_path):
    path = tmp_path / "x.ndjson.gz"
    lines = ['{"a": "x", "b": 1}'] * 50_001 + ['{"a": {}, "b": 2}']
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert [frame.schema["a"] for frame in read_ndjson_blocks(path)] == [pl.String, NESTED]
    frame = read_ndjson(path)
    assert frame.schema == {"a": NESTED, "b": pl.String}
    assert frame["a"][0].to_list() == ["x"]
    assert frame.height == 50_002


def test_nested_number_with_thousands_of_digits_is_reported(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_text('{"a": ' + "9" * 5000 + '}\n{"a": 1, "b": [' + "9" * 5000 + "]}\n")
    with pytest.raises(DataError) as caught:
        read_ndjson(path)
    assert [problem.where for problem in caught.value.problems] == [f"{path}:2"]


def test_lone_surrogates_are_replaced(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_text(
        '{"a": "x \\\\ud800", "b\\\\udc00": [1, "\\\\udfff"]}\n{"a": "\\\\ud83d\\\\ude00"}\n'.replace(
            "\\\\", "\\"
        )
    )
    frame = read_ndjson(path)
    assert frame["a"].to_list() == ["x \ufffd", "😀"]
    assert frame["b\ufffd"].to_list() == ['[1, "\ufffd"]', None]
