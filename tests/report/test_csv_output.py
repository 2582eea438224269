import csv
import io
import math

from hypothesis import given
from hypothesis import strategies as st

from trainer.report.csv_output import csv_lines

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
ROWS = st.lists(st.fixed_dictionaries({"a": TEXTS, "b": TEXTS}), max_size=4)


def read(lines: list[str]) -> list[list[str]]:
    # Read like a file: newlines inside quotes belong to the field.
    return list(csv.reader(io.StringIO("\n".join(lines) + "\n", newline="")))


@given(ROWS)
def test_text_round_trip(rows: list[dict[str, str]]) -> None:
    lines = list(csv_lines(["a", "b"], rows))
    assert len(lines) == len(rows) + 1
    assert read(lines) == [["a", "b"], *([row["a"], row["b"]] for row in rows)]


@given(st.floats())
def test_numbers_have_full_precision(value: float) -> None:
    _, line = csv_lines(["a"], [{"a": value}])
    assert float(line) == value or math.isnan(value)


def test_value_formats() -> None:
    row = {"a": True, "b": None, "c": 10**30, "d": [1, "é,"], "e": {"x": None}, "f": False}
    head, line = csv_lines(["missing", *row], [row])
    assert head == "missing,a,b,c,d,e,f"
    assert next(csv.reader([line])) == [
        *("", "true", "", str(10**30), '[1, "é,"]', '{"x": null}', "false"),
    ]
