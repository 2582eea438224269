"""Translate syntax errors of PyYAML into problems with a fix."""

from __future__ import annotations

import re

import yaml

from trainer.config.nodes import Location, Source
from trainer.errors import Problem


def syntax_problem(error: yaml.MarkedYAMLError, lines: list[str], source: Source) -> Problem:
    """Convert a syntax error of PyYAML (from the Python or the C parser) to a problem.

    Args:
        error: The exception of the parser.
        lines: The lines of the text.
        source: The source of the text.
    """
    message = error.problem or ""
    context = error.context or ""
    found_at = _location(source, error.problem_mark or error.context_mark, lines)
    start = _location(source, error.context_mark, lines) if error.context_mark else found_at

    tab = _find_tab(lines, {found_at.line, start.line})
    if tab is not None:
        location = Location(source, *tab)
        return Problem(
            str(location), "spaces as indentation", "a tab", "replace the tab with spaces"
        )
    if "cannot start any token" in message:
        character = _character_at(lines, found_at)
        fix = "put the value in quotes"
        return Problem(str(found_at), "a value", f"'{character}', which is reserved in YAML", fix)
    if "quoted scalar" in context and (
        "end of stream" in message or "document separator" in message
    ):
        fix = "close the quote, or remove it"
        return Problem(str(start), "a closing quote", "the end of the file", fix)
    if re.search("escape|hexdecimal|hexadecimal|Unicode character", message):
        fix = r"use single quotes, in which a backslash is literal: 'C:\data'"
        backslash = lines[found_at.line - 1].rfind("\\", 0, found_at.column)
        location = found_at if backslash < 0 else Location(source, found_at.line, backslash + 1)
        return Problem(str(location), "a valid YAML escape", _text_at(lines, location, 3), fix)
    if "flow sequence" in context or "flow mapping" in context:
        closing = "]" if "sequence" in context else "}"
        fix = f"close the bracket opened at {start.line}:{start.column} with '{closing}'"
        if re.search(r"[^\s,:\[{]\{$", lines[found_at.line - 1][: found_at.column]):
            fix = "put a value that contains braces in quotes"
        return Problem(str(found_at), f"',' or '{closing}'", _text_at(lines, found_at), fix)
    if "mapping values are not allowed" in message:
        fix = "quote a value that contains ': '; put a key on a separate line, indented"
        return Problem(str(found_at), "one 'key: value' per line", "a second ':'", fix)
    if "could not find expected ':'" in message:
        location = start if start.line != found_at.line else found_at
        fix = "write `key: value`, or indent the line to continue the previous one"
        return Problem(str(location), "':' after the key", _text_at(lines, location), fix)
    if "block mapping" in context or "block collection" in context:
        return _broken_block(found_at, start, "a key" if "mapping" in context else "'- '", lines)
    if "node content" in message or "expected the node content" in message:
        fix = "write a value, or put it in quotes"
        return Problem(str(found_at), "a value", _text_at(lines, found_at), fix)
    fix = "put the value in quotes, or see https://yaml.org/spec/1.2.2"
    return Problem(str(found_at), "valid YAML", message or context or "something else", fix)


def _broken_block(found_at: Location, start: Location, kind: str, lines: list[str]) -> Problem:
    rest = _text_at(lines, found_at)
    if rest.startswith("':"):
        return Problem(
            str(found_at), "a key before the ':'", "none", "write a key, or remove the line"
        )
    if re.search("['\"]", lines[found_at.line - 1][: found_at.column - 1]):
        fix = "a quote inside 'single quotes' is written twice: 'it''s'"
        return Problem(str(found_at), "the end of the line after the closing quote", rest, fix)
    fix = f"indent it like the lines it belongs to (line {start.line}: {start.column - 1} spaces)"
    return Problem(str(found_at), f"{kind} with the indentation of its siblings", rest, fix)


def _location(source: Source, mark: yaml.Mark | None, lines: list[str]) -> Location:
    if mark is None:
        return Location(source)
    # At the end of the text the parsers report the line after the last one: use the end of the text.
    line = min(mark.line, len(lines) - 1)
    if not lines[line] and mark.line >= len(lines) - 1 and line > 0:
        line -= 1
    column = min(mark.column, len(lines[line])) if line == mark.line else len(lines[line])
    return Location(source, line + 1, column + 1)


def _find_tab(lines: list[str], numbers: set[int]) -> tuple[int, int] | None:
    for number in sorted(numbers):
        match = re.match(r" *\t", lines[number - 1])
        if match is not None:
            return number, match.end()
    return None


def _character_at(lines: list[str], location: Location) -> str:
    return lines[location.line - 1][location.column - 1 : location.column] or "the end"


def _text_at(lines: list[str], location: Location, length: int = 30) -> str:
    text = lines[location.line - 1][location.column - 1 :].strip()
    if not text:
        return "the end of the line" if any(lines[location.line :]) else "the end of the file"
    return f"'{text}'" if len(text) <= length else f"'{text[:length]}…'"
