"""What PyYAML says of broken YAML, in words that say how to mend it.

Owns: the translation of syntax errors. Does not own: problems with values that are sound YAML.
"""

from __future__ import annotations

import re

import yaml

from trainer.config.nodes import Place, Source
from trainer.errors import Problem


def syntax_problem(error: yaml.MarkedYAMLError, lines: list[str], source: Source) -> Problem:
    """One syntax error of PyYAML (of either of its parsers) as a problem.

    Args:
        error: What the parser raised.
        lines: The text, by lines.
        source: Where the text is from.
    """
    what = error.problem or ""
    context = error.context or ""
    here = _place(source, error.problem_mark or error.context_mark, lines)
    start = _place(source, error.context_mark, lines) if error.context_mark else here

    tab = _tab(lines, {here.line, start.line})
    if tab is not None:
        place = Place(source, *tab)
        return Problem(str(place), "spaces as indentation", "a tab", "replace the tab by spaces")
    if "cannot start any token" in what:
        character = _character(lines, here)
        fix = "put the value in quotes"
        return Problem(str(here), "a value", f"'{character}', which YAML keeps for itself", fix)
    if "quoted scalar" in context and ("end of stream" in what or "document separator" in what):
        fix = "close the quote, or take it away"
        return Problem(str(start), "a closing quote", "the end of the file", fix)
    if re.search("escape|hexdecimal|hexadecimal|Unicode character", what):
        fix = r"use single quotes, in which a backslash is itself: 'C:\data'"
        backslash = lines[here.line - 1].rfind("\\", 0, here.column)
        place = here if backslash < 0 else Place(source, here.line, backslash + 1)
        return Problem(str(place), "an escape that YAML knows", _rest(lines, place, 3), fix)
    if "flow sequence" in context or "flow mapping" in context:
        closing = "]" if "sequence" in context else "}"
        fix = f"close the bracket opened at {start.line}:{start.column} with '{closing}'"
        return Problem(str(here), f"',' or '{closing}'", _rest(lines, here), fix)
    if "mapping values are not allowed" in what:
        fix = "a value with ': ' in it goes in quotes; a key goes on a line of its own, indented"
        return Problem(str(here), "one 'key: value' a line", "a second ':'", fix)
    if "could not find expected ':'" in what:
        place = start if start.line != here.line else here
        fix = "write `key: value`, or indent the line to belong to the one above"
        return Problem(str(place), "':' after the key", _rest(lines, place), fix)
    if "block mapping" in context or "block collection" in context:
        return _broken_block(here, start, "a key" if "mapping" in context else "'- '", lines)
    if "node content" in what or "expected the node content" in what:
        fix = "write a value, or put it in quotes"
        return Problem(str(here), "a value", _rest(lines, here), fix)
    fix = "see https://yaml.org/spec/1.2.2, or put the value in quotes"
    return Problem(str(here), "sound YAML", what or context or "something else", fix)


def _broken_block(here: Place, start: Place, kind: str, lines: list[str]) -> Problem:
    rest = _rest(lines, here)
    if rest.startswith("':"):
        return Problem(
            str(here), "a key before the ':'", "none", "write a key, or take the line out"
        )
    if re.search("['\"]", lines[here.line - 1][: here.column - 1]):
        fix = "a quote inside 'single quotes' is written twice: 'it''s'"
        return Problem(str(here), "the end of the line after the closing quote", rest, fix)
    fix = f"indent it as the lines it belongs with (line {start.line}: {start.column - 1} spaces)"
    return Problem(str(here), f"{kind} indented as its neighbours", rest, fix)


def _place(source: Source, mark: yaml.Mark | None, lines: list[str]) -> Place:
    if mark is None:
        return Place(source)
    # At the end of the text the parsers stand one past the last line: show where it ends instead.
    line = min(mark.line, len(lines) - 1)
    if not lines[line] and mark.line >= len(lines) - 1 and line > 0:
        line -= 1
    column = min(mark.column, len(lines[line])) if line == mark.line else len(lines[line])
    return Place(source, line + 1, column + 1)


def _tab(lines: list[str], numbers: set[int]) -> tuple[int, int] | None:
    for number in sorted(numbers):
        match = re.match(r" *\t", lines[number - 1])
        if match is not None:
            return number, match.end()
    return None


def _character(lines: list[str], place: Place) -> str:
    return lines[place.line - 1][place.column - 1 : place.column] or "the end"


def _rest(lines: list[str], place: Place, length: int = 30) -> str:
    text = lines[place.line - 1][place.column - 1 :].strip()
    if not text:
        return "the end of the line" if any(lines[place.line :]) else "the end of the file"
    return f"'{text}'" if len(text) <= length else f"'{text[:length]}…'"
