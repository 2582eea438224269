from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.domains import (
    Choices,
    Dimension,
    Domain,
    Floats,
    Integers,
    is_range,
    parse_domain,
    split_values,
)
from trainer.errors import Problem


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("log(1e-4, 1e-1)", Floats(1e-4, 1e-1, True)),
        ("uniform(0,0.5)", Floats(0.0, 0.5, False)),
        ("uniform(-1, 1)", Floats(-1.0, 1.0, False)),
        (" int(16, 256) ", Integers(16, 256, False)),
        ("int(16, 256, log)", Integers(16, 256, True)),
        ("a,b", Choices(("a", "b"))),
        ("1, 0.5,true,null,no,1e-3", Choices((1, 0.5, True, None, "no", 1e-3))),
        ("[1],[1, 2]", Choices(([1], [1, 2]))),
        ("{name: sgd}, adam", Choices(({"name": "sgd"}, "adam"))),
        ("'a,b',c", Choices(("a,b", "c"))),
        ("it's,fine", Choices(("it's", "fine"))),
    ],
)
def test_parse_domain(text: str, domain: Domain) -> None:
    assert parse_domain(text) == domain


def test_list_is_a_domain() -> None:
    assert parse_domain([1, "a,b", [2], None]) == Choices((1, "a,b", [2], None))


@pytest.mark.parametrize(
    ("text", "expected", "fix"),
    [
        ("log(1e-1, 1e-4)", "a range with the lower bound first", "write log(1e-4, 1e-1)"),
        ("int(9, 2, log)", "a range with the lower bound first", "write int(2, 9, log)"),
        ("log(0, 1)", "a range above 0", "start above 0, or write uniform(…)"),
        ("log(-1, 1)", "a range above 0", "start above 0, or write uniform(…)"),
        ("int(0, 9, log)", "a range above 0", "start above 0"),
        ("int(0.5, 9)", "integers as bounds of int", "write uniform(0.5, 9)"),
        ("uniform(1, 1)", "a range with two different bounds", "write [1] for one value"),
        ("uniform(1)", "two numbers, as in uniform(0, 0.5)", ""),
        ("uniform(1, 2, log)", "two numbers", ""),
        ("uniform(a, 2)", "two numbers", ""),
        ("uniform(0, .inf)", "two numbers", ""),
        ("uniform(0, true)", "two numbers", ""),
        (f"int(0, 1{'0' * 400})", "two numbers", ""),
        (f"int(0, {'1' * 5000})", "two numbers", ""),
        ("log(1e-4", "a range such as log(1e-4, 1e-1)", "quote ranges inside braces"),
        ("loguniform(1, 2)", "a list, values", "did you mean 'uniform'?"),
        ("choice(0, 1)", "a list, values", "available: log, uniform, int"),
        ("adam", "a list, values", "write [adam]"),
        ("a,", "a list, values", "write [a]"),
        ("", "a list, values", ""),
        ("a,{", "a list, values", "write the values as a list"),
    ],
)
def test_invalid_domain(text: str, expected: str, fix: str) -> None:
    problem = parse_domain(text)
    assert isinstance(problem, Problem)
    assert problem.expected.startswith(expected)
    assert problem.fix.startswith(fix)
    assert text[:20] in problem.found


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_reported(text: str) -> None:
    assert parse_domain(text) is not None


PARTS = st.sampled_from(["a", "1e-3", "[1,2]", "{a: 1, b: 2}", '"x,y"', "'[,'", "log(1,2)"])


@given(st.lists(PARTS, min_size=1, max_size=6))
def test_split_values_round_trip(parts: list[str]) -> None:
    assert split_values(", ".join(parts)) == parts


def test_is_range() -> None:
    assert is_range("log(1, 2)")
    assert is_range("anything(")
    assert not is_range("(1, 2)")
    assert not is_range("package.module:function")


def test_dimension_of_several_settings() -> None:
    assert Dimension(("a",), Choices(((1, 2),))).settings((1, 2)) == {"a": (1, 2)}
    assert Dimension(("a", "b"), Choices(((1, 2),))).settings((1, 2)) == {"a": 1, "b": 2}
