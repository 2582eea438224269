import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.report.run_files import SETTINGS, make_run
from trainer.config.nodes import Source, to_python
from trainer.config.yaml_reader import parse_yaml
from trainer.config.yaml_writer import block_text
from trainer.errors import RunError
from trainer.report.settings import read_settings, value_at
from trainer.runs.directory import RunDirectory

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9).filter(
    lambda text: not set(text) & set("\ufffe\uffff\ufeff")
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
SECTION_NAMES = st.from_regex(r"[a-z_]+", fullmatch=True)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
CONFIGS = st.dictionaries(SECTION_NAMES, VALUES, min_size=1, max_size=4)


def run_with(folder: Path, content: str | bytes) -> RunDirectory:
    run = RunDirectory(folder)
    data = content if isinstance(content, bytes) else content.encode()
    run.config.write_bytes(data)
    return run


def test_settings_of_a_run(tmp_path: Path) -> None:
    assert read_settings(make_run(tmp_path)) == SETTINGS


@given(CONFIGS)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any]) -> None:
    run = run_with(tmp_path_factory.getbasetemp(), block_text(config))
    assert read_settings(run) == config == yaml.safe_load(run.config.read_text("utf-8"))


CHANGES = st.tuples(
    st.integers(0, 400),
    st.integers(0, 4),
    st.sampled_from(
        [
            *(
                "\n",
                " ",
                "  ",
                "- ",
                ":",
                ": ",
                "#",
                " # x",
                "?",
                "? ",
                "|",
                ">",
                "\t",
                "\r",
                "\x85",
            ),
            *(
                "'",
                '"',
                "[",
                "]",
                "{",
                "}",
                ",",
                "&a ",
                "*a",
                "!x ",
                "<<: ",
                "---\n",
                "--- ",
                "...\n",
            ),
            *("%", "\ufeff", "1e5", "1: 2", "\nseed: 1\n", "\n  x: 1\n", "null", "~", "", "\u2028"),
        ]
    ),
)


@settings(max_examples=60)
@given(CONFIGS, st.lists(CHANGES, max_size=4))
@example({"a": {"b": 1}}, [(2, 0, " |")])
@example({"a": {"b": 1}}, [(0, 0, "--- ")])
@example({"a": {"b": {"c": None}}}, [(15, 1, "\u2028")])
@example({"a": {"b": [{"c": 1, "d": 2}, {"e": 3}]}}, [(20, 0, "\n")])
def test_edited_config_is_parsed_like_yaml(
    tmp_path_factory: pytest.TempPathFactory,
    config: dict[str, Any],
    changes: list[tuple[int, int, str]],
) -> None:
    text = block_text(config)
    for index, length, other in changes:
        text = text[:index] + other + text[index + length :]
    run = run_with(tmp_path_factory.getbasetemp(), text)
    document = parse_yaml(text, Source("", Path()))
    expected = None if document.root is None else to_python(document.root)
    if document.problems or not isinstance(expected, dict):
        with pytest.raises(RunError):
            read_settings(run)
    else:
        assert json.dumps(read_settings(run)) == json.dumps(expected)


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\nseed: 1\noptimizer: {name: sgd}\n",
        "seed: &one 1\nmodel: {units: *one}\noptimizer: {name: sgd, beta: *one}\n",
        "---\nseed: 1\n\noptimizer:\n    name: sgd\n",
        '"seed": 1\noptimizer:\n  name: sgd',
        "optimizer:\n  name: sgd\nseed: 1",
        "a:\n  c: 1\n  \u2028seed: 1\noptimizer: {name: sgd}\n",
        "seed: 1\noptimizer: {name: sgd}\n...\n",
        "seed: 1\r\noptimizer:\r\n  name: sgd\r\n",
        'name: "a\n  seed: 2"\nseed: 1\noptimizer: {name: sgd}\n',
    ],
)
def test_handwritten_config(tmp_path: Path, text: str) -> None:
    result = read_settings(run_with(tmp_path, text))
    assert result["seed"] == 1
    assert value_at(result, ["optimizer", "name"]) == "sgd"


BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{chr(letter)}: &{chr(letter)} [{', '.join([f'*{chr(letter - 1)}'] * 9)}]\n"
    for letter in range(ord("b"), ord("k"))
)
DAMAGED: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "settings"),
    "a list": ("- 1\n", "settings"),
    "a list and a mapping": ("a:\n  - x: 1\n  y: 2\n", "'- '"),
    "two documents": ("--- {a: 1}\nb: 2\n", "valid YAML"),
    "open quote": ('optimizer: {name: "adam}\n', "closing quote"),
    "same section twice": ("optimizer: {}\noptimizer: {}\n", "unique keys"),
    "code": ("optimizer: !!python/object/apply:os.system ['touch was_here']\n", "a tag"),
    "bomb": (BOMB.replace("j:", "optimizer:"), "with aliases expanded"),
    "deep": ("optimizer: " + "[" * 5000 + "\n", "levels of nesting"),
    "not text": (b"optimizer: \xff\n", "UTF-8"),
    "large": ("optimizer: 1\n" + "#" * 1_000_001, "at most"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_config_is_reported(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, expected = DAMAGED[name]
    with pytest.raises(RunError) as raised:
        read_settings(run_with(tmp_path, content))
    problem = raised.value.problems[0]
    assert problem.where.startswith(str(tmp_path / "config.yaml"))
    assert expected.removeprefix("a ") in problem.expected
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(RunError, match="a pipe"):
        read_settings(RunDirectory(tmp_path))


def test_value_at() -> None:
    assert value_at(SETTINGS, ["model", "layers", "0", "dense", "units"]) == 64
    assert value_at(SETTINGS, ["data", "columns", "a.b", "scale"]) == "robust"
    assert value_at(SETTINGS, ["optimizer", "clip_norm"]) is None
    for steps in (["x"], ["model", "layers", "2"], ["model", "layers", "9" * 5000], ["seed", "0"]):
        with pytest.raises(KeyError):
            value_at(SETTINGS, steps)
