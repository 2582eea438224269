from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import errors
from trainer.errors import ConfigError, Problem, TrainerError, did_you_mean


def test_a_problem_says_where_what_and_how_to_mend_it() -> None:
    problem = Problem("c.yaml:3:5", "a number above 0", "'x'", "write 1", "fit.epochs")
    assert str(problem) == "c.yaml:3:5 fit.epochs: expected a number above 0, found 'x'; write 1"
    assert str(Problem("x.csv", "a", "b")) == "x.csv: expected a, found b"
    assert str(Problem("", "a", "b", key="k")) == "k: expected a, found b"


def test_a_problem_can_be_moved() -> None:
    problem = Problem("", "a", "b", "c", "k")
    assert problem.at("x.yaml:1:1") == Problem("x.yaml:1:1", "a", "b", "c", "k")


def test_an_error_holds_one_or_many() -> None:
    first, second = Problem("x", "a", "b"), Problem("y", "c", "d")
    assert ConfigError(first).problems == (first,)
    error = ConfigError(iter([first, second]))
    assert error.problems == (first, second)
    assert str(error) == f"{first}\n{second}"
    assert pickle.loads(pickle.dumps(first)) == first


def every_error(error: type[TrainerError] = TrainerError) -> list[type[TrainerError]]:
    """The tree of `trainer.errors`; an error that carries more data is one of its kinds elsewhere."""
    below = [each for each in error.__subclasses__() if each.__module__ == errors.__name__]
    return [error, *(each for one in below for each in every_error(one))]


@pytest.mark.parametrize("error", every_error())
def test_kinds_and_exit_codes(error: type[TrainerError]) -> None:
    expected = 2 if issubclass(error, errors.InputError) else 3
    assert error.exit_code == (1 if error is TrainerError else expected)
    assert [other for other in every_error() if other.kind == error.kind] == [error]
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
def test_did_you_mean_names_something_known(name: str, known: list[str]) -> None:
    found = did_you_mean(name, known)
    assert found == "" or found.removeprefix("did you mean '").removesuffix("'?") in known
