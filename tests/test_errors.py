from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import errors
from trainer.errors import ConfigError, Problem, TrainerError, did_you_mean, pluralize


def test_problem_as_text() -> None:
    problem = Problem("c.yaml:3:5", "a number above 0", "'x'", "write 1", "fit.epochs")
    assert str(problem) == "c.yaml:3:5 fit.epochs: expected a number above 0, found 'x'; write 1"
    assert str(Problem("x.csv", "a", "b")) == "x.csv: expected a, found b"
    assert str(Problem("", "a", "b", key="k")) == "k: expected a, found b"


def test_problem_at_another_location() -> None:
    problem = Problem("", "a", "b", "c", "k")
    assert problem.at("x.yaml:1:1") == Problem("x.yaml:1:1", "a", "b", "c", "k")


def test_error_has_one_or_more_problems() -> None:
    first, second = Problem("x", "a", "b"), Problem("y", "c", "d")
    assert ConfigError(first).problems == (first,)
    error = ConfigError(iter([first, second]))
    assert error.problems == (first, second)
    assert str(error) == f"{first}\n{second}"
    assert pickle.loads(pickle.dumps(first)) == first


def error_classes(error: type[TrainerError] = TrainerError) -> list[type[TrainerError]]:
    """Return the exception classes of `trainer.errors`; subclasses in other modules are excluded."""
    subclasses = [cls for cls in error.__subclasses__() if cls.__module__ == errors.__name__]
    return [error, *(cls for subclass in subclasses for cls in error_classes(subclass))]


@pytest.mark.parametrize("error", error_classes())
def test_kinds_and_exit_codes(error: type[TrainerError]) -> None:
    expected = 2 if issubclass(error, errors.InputError) else 3
    assert error.exit_code == (1 if error is TrainerError else expected)
    assert [other for other in error_classes() if other.kind == error.kind] == [error]
    assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("lerning_rate", ["momentum", "learning_rate"], "did you mean 'learning_rate'?"),
        ("AUC", ["auc"], "did you mean 'auc'?"),
        ("Pclass", ["pclass", "PClass"], "did you mean 'pclass'?"),
        ("zzz", ["learning_rate"], "otherwise"),
        ("x", [], "otherwise"),
    ],
)
def test_did_you_mean(name: str, known: list[str], expected: str) -> None:
    assert did_you_mean(name, known, "otherwise") == expected


@given(st.text(), st.lists(st.text()))
def test_did_you_mean_returns_a_known_name(name: str, known: list[str]) -> None:
    result = did_you_mean(name, known)
    assert result == "" or result.removeprefix("did you mean '").removesuffix("'?") in known


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(1, "class", "1 class"), (0, "class", "0 classes"), (1_000, "row", "1,000 rows")],
)
def test_pluralize(count: int, noun: str, text: str) -> None:
    assert pluralize(count, noun) == text
