import operator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.config.yaml_writer import scalar_text
from trainer.errors import Problem
from trainer.report.filters import (
    Relation,
    RunFilter,
    check_comparable,
    matches_filter,
    parse_filter,
)
from trainer.report.run_values import RunValues
from trainer.report.settings import Value
from trainer.runs.listing import RunSummary
from trainer.runs.manifest import DisplayStatus, Manifest, new_manifest

MANIFEST = new_manifest(
    name="wine",
    command=["fit"],
    seed=7,
    config_directory=Path("/"),
    now=datetime(2026, 11, 22, tzinfo=UTC),
)
NUMBERS = st.one_of(st.integers(-5, 5), st.floats(allow_nan=False))


def run_with(value: Value, manifest: Manifest | None = None) -> RunValues:
    status: DisplayStatus = "damaged" if manifest is None else "finished"
    summary = RunSummary(Path("r"), "wine", status, manifest, {}, {}, ())
    return RunValues(summary, {"x.y": value, "status": status})


def parsed(text: str) -> RunFilter:
    condition = parse_filter(text)
    assert isinstance(condition, RunFilter), condition
    return condition


@pytest.mark.parametrize(
    ("text", "name", "relation", "operands"),
    [
        ("val_auc > 0.9", "val_auc", ">", [0.9]),
        ("val_auc>=1e-3", "val_auc", ">=", [1e-3]),
        ("  a.0.b  ==  two words ", "a.0.b", "==", ["two words"]),
        ("a in 1, b ,'c,d'", "a", "in", [1, "b", "c,d"]),
        ("a in in", "a", "in", ["in"]),
        ("a ~ ~", "a", "~", [None]),
        ("a != 'null'", "a", "!=", ["null"]),
        ('data.columns."a == b".scale == x', 'data.columns."a == b".scale', "==", ["x"]),
        ("a==b==c", "a", "==", ["b==c"]),
        ("größe <= 3", "größe", "<=", [3]),
        ("a == line\nbreak", "a", "==", ["line\nbreak"]),
    ],
)
def test_parse_filter(text: str, name: str, relation: Relation, operands: list[Value]) -> None:
    condition = parsed(text)
    assert (condition.name, condition.relation) == (name, relation)
    assert [operand.scalar for operand in condition.operands] == operands


@pytest.mark.parametrize(
    "text",
    ["", " ", "a", "a ==", "== 1", "a b == 1", "a inside b", "in 1", "a => 1", "a ! 1", "'a == 1"],
)
def test_invalid_syntax_is_reported(text: str) -> None:
    problem = parse_filter(text)
    assert isinstance(problem, Problem)
    assert "OPERATOR" in problem.expected
    assert problem.fix.startswith("write")


def test_single_equals_sign_has_a_fix() -> None:
    problem = parse_filter("status = finished")
    assert isinstance(problem, Problem)
    assert problem.fix == "write 'status == finished'"


def test_huge_number_is_reported() -> None:
    problem = parse_filter("a == " + "9" * 5000)
    assert isinstance(problem, Problem)
    assert "5,000 digits" in problem.found


@given(st.text(max_size=30))
@example("a" * 2000 + " ~")
@example('"\\' * 500)
def test_any_text_is_a_filter_or_a_problem(text: str) -> None:
    assert isinstance(parse_filter(text), RunFilter | Problem)


@given(NUMBERS, NUMBERS)
def test_numbers_compare_as_in_python(left: float, right: float) -> None:
    for sign, compare in {
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }.items():
        condition = parsed(f"x.y {sign} {scalar_text(right)}".replace("inf", ".inf"))
        assert matches_filter(run_with(left, MANIFEST), condition) == compare(left, right)


MEETS: list[tuple[Value, str, bool]] = [
    ("adam", "== adam", True),
    ("adam", "== Adam", False),
    ("adam", "!= sgd", True),
    ("adam", "~ da", True),
    ("adam", "in sgd, adam", True),
    ("adam", "in sgd", False),
    ("007", "== 007", True),
    ("null", "== null", True),
    (None, "== null", True),
    (None, "== 'null'", False),
    (None, "< 1", False),
    (True, "== true", True),
    (True, "== 1", False),
    (1, "== true", False),
    (1, "== 1.0", True),
    (True, "> 0", False),
    (1, "~ 1", False),
    ("2026-11-22T14:15", ">= 2026-11-22", True),
    ("2026-11-22T14:15", "< 2026", False),
    (["accuracy", "auc"], "~ auc", True),
    (["accuracy", "auc"], "~ au", False),
    (["accuracy"], "== accuracy", False),
    ({"cosine": {}}, "~ cosine", True),
    ({"cosine": {}}, "!= 1", True),
    (0.5, "<= .nan", False),
    (0.5, "!= .nan", True),
]


@pytest.mark.parametrize(("value", "rest", "holds"), MEETS)
def test_matches_filter(value: Value, rest: str, holds: bool) -> None:
    assert matches_filter(run_with(value, MANIFEST), parsed(f"x.y {rest}")) is holds


@pytest.mark.parametrize("sign", ["==", "!=", "<", "~", "in"])
def test_missing_value_never_matches(sign: str) -> None:
    assert not matches_filter(run_with(1, MANIFEST), parsed(f"other {sign} 1"))


def test_damaged_run_matches_by_properties_only() -> None:
    assert not matches_filter(run_with(1), parsed("x.y == 1"))
    assert matches_filter(run_with(1), parsed("status == damaged"))


def test_incomparable_values_are_reported() -> None:
    numbers = [run_with(0.5, MANIFEST), run_with(None, MANIFEST)]
    problem = check_comparable(parsed("x.y > high"), numbers)
    assert problem is not None
    assert (problem.expected, problem.found) == ("a number, as x.y is", "'high'")
    assert check_comparable(parsed("x.y > 1"), numbers) is None
    assert check_comparable(parsed("x.y == high"), numbers) is None
    assert check_comparable(parsed("x.y > high"), [run_with(None, MANIFEST)]) is None
    assert check_comparable(parsed("x.y > 1"), [run_with("text", MANIFEST)]) is None
    problem = check_comparable(parsed("x.y > 1"), [run_with([1], MANIFEST)])
    assert problem is not None
    assert problem.found == "'>'"
