import pytest

from tests.advice import alternatives, unsolved


@pytest.mark.parametrize(
    ("where", "fix", "expected"),
    [
        ("", "set data.split: {by: group, column: a b}", [["data.split={by: group, column: a b}"]]),
        (
            "",
            "remove or merge such classes, or set data.split.by to random",
            [["data.split.by=random"]],
        ),
        (
            "",
            "set model.head: auto and loss: auto, or correct the rows",
            [["model.head=auto", "loss=auto"]],
        ),
        (
            "",
            "set data.csv.separator: '\\t', or loss: auto",
            [["data.csv.separator='\\t'"], ["loss=auto"]],
        ),
        ("c.yaml:1:2 fit.steps", "remove it, or change it", [["~fit.steps"]]),
        ("", "remove data.split.by", [["~data.split.by"]]),
        ("", "remove data.weight and data.target", [["~data.weight", "~data.target"]]),
        ("c.yaml:1:2 fit.shuffle", "write true", [["fit.shuffle=true"]]),
        ("table.csv:3", "correct it", []),
        ("table.csv:3", "set data.csv.encoding, for instance to windows-1252", []),
        ("x", "leave it out with data.features.exclude: ['a']", [["data.features.exclude=['a']"]]),
    ],
)
def test_alternatives(where: str, fix: str, expected: list[list[str]]) -> None:
    assert alternatives({"where": where, "fix": fix}) == expected


def test_problem_without_alternatives() -> None:
    problem = {"expected": "a", "found": "b", "where": "x", "fix": ""}
    other = {**problem, "found": "c"}
    assert unsolved(problem, ["k=v"], [problem], []) == []
    assert unsolved(problem, ["k=v"], [problem, other], [other]) == []
    assert unsolved(problem, ["k=v"], [problem], [problem])
    assert unsolved(problem, ["k=v"], [problem], [other])
