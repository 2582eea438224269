from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.config.nodes import Source, find_location, to_python
from trainer.config.yaml_reader import MAX_BYTES, parse_scalar, parse_yaml, read_yaml

SOURCE = Source("c.yaml", Path())


def read(text: str) -> object:
    document = parse_yaml(text, SOURCE)
    assert document.problems == ()
    assert document.root is not None
    return to_python(document.root)


def problems(text: str) -> list[str]:
    return [str(problem) for problem in parse_yaml(text, SOURCE).problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("-.5", -0.5), ("5.", 5.0), ("+1", 1), ("007", 7),
        ("0o17", 15), ("0x1F", 31), ("017", 17), ("1_000", "1_000"), ("1:30", "1:30"),
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"),
        ("true", True), ("True", True), ("FALSE", False), ("tRue", "tRue"),
        ("null", None), ("~", None), ("", None), ("nULL", "nULL"),
        (".inf", math.inf), ("-.INF", -math.inf), ("inf", "inf"), ("nan", "nan"),
        ("2020-01-01", "2020-01-01"), ("1e", "1e"), ("0b1", "0b1"), (".", "."), ("-", "-"),
    ],
)  # fmt: skip
def test_plain_scalars_of_yaml_1_2(text: str, value: object) -> None:
    result = parse_scalar(text)
    assert result == value
    assert type(result) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(float(parse_scalar(".nan") or 0))


@given(st.integers(-(10**30), 10**30))
def test_integers_round_trip(number: int) -> None:
    assert parse_scalar(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e-7)
@example(5e-324)
def test_floats_round_trip(number: float) -> None:
    assert parse_scalar(repr(number)) == number


@given(st.text(alphabet="0123456789+-.eExobnflaINF_:", max_size=8))
def test_scalars_follow_the_core_schema(text: str) -> None:
    # The regular expressions of YAML 1.2.2, section 10.3.2.
    if re.fullmatch(r"[-+]?[0-9]+", text) or re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", text):
        expected: type = int
    elif re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text) or re.fullmatch(
        r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN", text
    ):
        expected = float
    else:
        expected = type(None) if text == "" else str
    assert type(parse_scalar(text)) is expected


def test_quoted_scalars_are_text() -> None:
    assert read("a: '1'\nb: \"null\"\nc: |\n  3\nd: ''\n") == {
        "a": "1", "b": "null", "c": "3\n", "d": "",
    }  # fmt: skip


def test_keys_are_text_as_written() -> None:
    keys = "1: a\nno: b\nnull: c\n1e3: d\ntrue: e\n'': f\nü: g\n"
    assert read(keys) == dict(
        zip(["1", "no", "null", "1e3", "true", "", "ü"], "abcdefg", strict=True)
    )


def test_locations_of_keys_and_values() -> None:
    root = parse_yaml("a: 1\nb:\n  c: [x,\n      {d: 2}]\n  é: 'q'\n", SOURCE).root
    assert root is not None
    result = {
        key: str(find_location(root, key)) for key in ("a", "b", "b.c", "b.c.1", "b.c.1.d", "b.é")
    }
    assert result == {
        "a": "c.yaml:1:4", "b": "c.yaml:2:1", "b.c": "c.yaml:3:6", "b.c.1": "c.yaml:4:7",
        "b.c.1.d": "c.yaml:4:11", "b.é": "c.yaml:5:6",
    }  # fmt: skip


def test_anchors_and_merge_keys() -> None:
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: &d {z: 4}\ne: {<<: [*a, *d], x: 0}\n"
    assert read(text) == {
        "a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": {"y": 3, "x": 1}, "d": {"z": 4},
        "e": {"x": 0, "y": 2, "z": 4},
    }  # fmt: skip
    assert read("'<<': 1") == {"<<": 1}


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n...\n", "---\n"])
def test_empty_file(text: str) -> None:
    document = parse_yaml(text, SOURCE)
    assert document.problems == ()
    assert document.root is None or document.root.content is None


def test_windows_line_breaks() -> None:
    document = parse_yaml("a: 1\r\nb: 2\r\nb: 3\r\n", SOURCE)
    assert document.problems[0].where == "c.yaml:3:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n\tc: 1\n", "c.yaml:3:1: expected spaces as indentation, found a tab; replace the "
         "tab with spaces"),
        ("a: [1, 2\nb: 3\n", "c.yaml:2:2: expected ',' or ']', found ': 3'; close the bracket opened "
         "at 1:4 with ']'"),
        ("a: {b: x.{d,e}}\n", "c.yaml:1:10: expected ',' or '}', found '{d,e}}'; put a value that "
         "contains braces in quotes"),
        ("a: {b: 1\n", "c.yaml:1:9: expected ',' or '}', found the end of the file; close the bracket "
         "opened at 1:4 with '}'"),
        ("a: 'x\nb: 1\n", "c.yaml:1:4: expected a closing quote, found the end of the file; close the "
         "quote, or remove it"),
        ("a: b: c\n", "c.yaml:1:5: expected one 'key: value' per line, found a second ':'; quote a "
         "value that contains ': '; put a key on a separate line, indented"),
        ("a: @x\n", "c.yaml:1:4: expected a value, found '@', which is reserved in YAML; put the "
         "value in quotes"),
        ('a: "C:\\data"\n', "c.yaml:1:7: expected a valid YAML escape, found '\\da…'; use single "
         "quotes, in which a backslash is literal: 'C:\\data'"),
        ("a:\n  b: 1\n c: 2\n", "c.yaml:3:2: expected a key with the indentation of its siblings, "
         "found 'c: 2'; indent it like the lines it belongs to (line 1: 0 spaces)"),
        ("a: 1\nfoo\nb: 2\n", "c.yaml:2:1: expected ':' after the key, found 'foo'; write `key: "
         "value`, or indent the line to continue the previous one"),
        (": 3\n", "c.yaml:1:1: expected a key before the ':', found none; write a key, or remove "
         "the line"),
        ("? [1]\n: 2\n", "c.yaml:1:3: expected text as the key, found a mapping or list; quote it, "
         "or write it after the ':'"),
        ("a: 'it's'\n", "c.yaml:1:8: expected the end of the line after the closing quote, found "
         "'s''; a quote inside 'single quotes' is written twice: 'it''s'"),
        ("a: *b\n", "c.yaml:1:4: expected the name of an anchor above, found *b; define it before "
         "with &b"),
        ("a: &a [*a]\n", "c.yaml:1:8: expected the name of an anchor above, found *a inside itself; "
         "define it before with &a"),
        ("a: 1\n---\nb: 1\n", "c.yaml:2:1: expected one document, found a second one; put each config "
         "in a separate file"),
        ("a: {b: 1, b: 2}\n", "c.yaml:1:11 a.b: expected unique keys, found 'b' again (first on line "
         "1); remove one of the two"),
        ("- a: 1\n- a: 1\n  a: 2\n", "c.yaml:3:3 1.a: expected unique keys, found 'a' again (first on "
         "line 2); remove one of the two"),
        ("a: !custom 1\n", "c.yaml:1:4: expected a value without a tag, found the tag !custom; remove "
         "the tag; quote text that looks like a number"),
        ("a: !!binary aGk=\n", "c.yaml:1:4: expected a value without a tag, found the tag !!binary; "
         "remove the tag; quote text that looks like a number"),
        ("a: !!python/object/apply:os.system [ls]\n", "c.yaml:1:4: expected a value without a tag, "
         "found the tag !!python/object/apply:os.system; remove the tag; quote text that "
         "looks like a number"),
        ("a: \x1b\n", "c.yaml:1:4: expected printable text, found the control character U+001B; "
         'remove it, or write it as an escape in double quotes: "\\x1b"'),
        ('a: "\\0"\n', "c.yaml:1:4: expected text that can be written to a file, found an escape for "
         "NUL or for half of a surrogate pair; remove the escape"),
        ("<<: 3\n", "c.yaml:1:1: expected a mapping to merge, found something else; write `<<: "
         "*anchor` with the anchor of a mapping"),
        ("a: }\n", "c.yaml:1:4: expected a value, found '}'; write a value, or put it in quotes"),
        ("a: " + "9" * 5000, "c.yaml:1:4: expected at most 4,000 digits, found an integer of 5,000 "
         "digits; write it as 1e9"),
    ],
)  # fmt: skip
def test_invalid_yaml(text: str, message: str) -> None:
    assert problems(text) == [message]


@pytest.mark.parametrize(
    "text", ["[" * 1000, "{a: " * 1000, "- " * 1000 + "x", "[" * 1000 + "]" * 1000]
)
def test_deep_nesting(text: str) -> None:
    (result,) = problems(text)
    assert "expected at most 100 levels of nesting, found more" in result


def test_deep_nesting_by_aliases() -> None:
    nest = "[" * 60, "]" * 60
    (result,) = problems(f"a: &a {nest[0]}x{nest[1]}\nb: {nest[0]}*a{nest[1]}\n")
    assert "levels of nesting" in result


def test_alias_bomb() -> None:
    names = "abcdefghijklmnop"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise(names)]
    (result,) = problems("\n".join(lines))
    assert "expected at most 100,000 values, with aliases expanded, found more" in result


def test_merge_bomb() -> None:
    lines = ["a0: &a0 {k0: 1, l0: 1}"]
    lines += [f"a{i}: &a{i} {{k{i}: *a{i - 1}, l{i}: *a{i - 1}}}" for i in range(1, 40)]
    assert len(problems("\n".join(lines))) == 1


def test_long_lines_and_many_keys() -> None:
    assert read("a: " + "x" * 500_000) == {"a": "x" * 500_000}
    assert read("a: [" + "1, " * 20_000 + "]") == {"a": [1] * 20_000}


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    document = parse_yaml(text, SOURCE)
    for problem in document.problems:
        assert problem.where.startswith("c.yaml:")
        assert problem.expected
        assert problem.found


@given(
    st.lists(st.sampled_from([*"abc:-[]{}'\"#&*!|>%@`,? \n\t", ": ", "- ", "\n  "]), max_size=25)
)
def test_any_punctuation_is_parsed_or_rejected(parts: list[str]) -> None:
    text = "".join(parts)
    for problem in parse_yaml(text, SOURCE).problems:
        line, column = map(int, problem.where.split(":")[1:])
        lines = text.split("\n")
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 2


Write = Callable[..., Path]


def file_problem(path: Path) -> str:
    (problem,) = read_yaml(path).problems
    return str(problem).replace(str(path.parent), "DIR")


def test_byte_order_mark_is_skipped(write: Write) -> None:
    root = read_yaml(write("\ufeffa: 1\n")).root
    assert root is not None
    assert to_python(root) == {"a": 1}


def test_utf_16(write: Write) -> None:
    assert file_problem(write("a: 1\n".encode("utf-16"))) == (
        "DIR/config.yaml: expected text in UTF-8, found text in UTF-16; save it as UTF-8: "
        "iconv -f UTF-16 -t UTF-8 DIR/config.yaml > utf8.yaml"
    )


def test_latin_1(write: Write) -> None:
    assert file_problem(write("a: 1\nb: größe\n".encode("latin-1"))).startswith(
        "DIR/config.yaml:2:6: expected text in UTF-8, found the byte 0xf6; save it as UTF-8: iconv"
    )


def test_binary(write: Write) -> None:
    assert file_problem(write(b"PAR1\x00\x01\xff")) == (
        "DIR/config.yaml: expected a YAML text, found binary data; pass the config file, not a data "
        "file"
    )


def test_large_file_is_rejected_before_it_is_read(write: Write) -> None:
    path = write("a: 1\n")
    with path.open("ab") as file:
        file.truncate(100 * 1024 * 1024)
    assert file_problem(path).startswith(
        f"DIR/config.yaml: expected a config of at most {MAX_BYTES:,} bytes, found 104,857,600 bytes; "
    )


def test_directory(write: Write) -> None:
    path = write("a: 1").parent
    assert str(read_yaml(path).problems[0]) == (
        f"{path}: expected a YAML file, found a directory; pass a file in it: {path}/config.yaml"
    )


def test_missing_file_suggests_a_similar_name(write: Write) -> None:
    path = write("a: 1", "breast_cancer.yaml")
    assert file_problem(path.with_name("brest_cancer.yaml")) == (
        "DIR/brest_cancer.yaml: expected a YAML file, found no such file; did you mean "
        "'DIR/breast_cancer.yaml'?"
    )
    assert file_problem(path.parent / "none" / "x.yaml").endswith(
        "found no such file; check the path"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(write: Write) -> None:
    path = write("a: 1")
    path.chmod(0)
    assert "found no permission to read it; chmod u+r" in file_problem(path)


def test_invalid_file_name() -> None:
    (problem,) = read_yaml(Path("a\0b")).problems
    assert problem.found == "an error: embedded null byte"
    (problem,) = read_yaml(Path("x" * 5000)).problems
    assert problem.found == "an error: File name too long"
