"""The settings that a message proposes, as overrides, so that a test can apply them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_SECTION = r"(?:data|model|optimizer|fit|evaluate|runtime|sweep|loss|metrics|track|seed|name)"
_KEY = re.compile(rf"~?{_SECTION}(?:\.(?:[A-Za-z_][\w-]*|\d+|\"[^\"]+\"|'[^']+'))*")
_SET = re.compile(rf"(?:({_KEY.pattern})(?:: |=)|\bset ({_KEY.pattern}) to )(?=\S)")
_REMOVED = re.compile(
    rf"(?:remove|take|leave) ({_KEY.pattern})(?: and ({_KEY.pattern}))?(?: out)?(?=[,;]|$| or )"
)
_CLOSING = {"[": "]", "{": "}", '"': '"', "'": "'"}


def alternatives(problem: Mapping[str, str]) -> list[list[str]]:
    """What a message proposes to set or to remove, each alternative as overrides.

    Args:
        problem: `where` (with the setting, if there is one, as its last word) and `fix`.

    Returns:
        Nothing for advice that a command line cannot follow, such as to correct a file.
    """
    fix = problem["fix"]
    if problem["where"].startswith("override "):
        return []
    key = next(iter(reversed(problem["where"].split(" "))), "")
    is_setting = _KEY.fullmatch(key) is not None
    found: list[list[str]] = []
    end = -1
    for match in _SET.finditer(fix):
        value = _value(fix[match.end() :])
        if match[2] and value in {"a", "an", "another", "the", "one"}:
            continue
        override = f"{match[1] or match[2]}={value}"
        if found and fix[end : match.start()] == " and ":
            found[-1].append(override)
        else:
            found.append([override])
        end = match.end() + len(value)
    found += [
        [f"~{name.lstrip('~')}" for name in match.groups() if name]
        for match in _REMOVED.finditer(fix)
    ]
    if is_setting and re.search(r"\b(take it out|remove it|leave it out)\b", fix):
        found.append([f"~{key}"])
    if is_setting and (match := re.fullmatch(r"write (\S+|\[.*\]|'[^']*'|\"[^\"]*\")", fix)):
        found.append([f"{key}={match[1]}"])
    return found


def _value(text: str) -> str:
    """The value at the start of a text: a whole list, mapping or quoted text, else a word."""
    if text[:1] in (",", ";"):
        return text[0]
    depth: list[str] = []
    for place, character in enumerate(text):
        if depth and character == depth[-1]:
            depth.pop()
            if not depth:
                return text[: place + 1]
        elif depth and depth[-1] in "\"'":
            continue
        elif character in _CLOSING and (depth or place == 0):
            depth.append(_CLOSING[character])
        elif not depth and character in " ,;)":
            return text[:place]
    return text.rstrip(".")


def unsolved(
    problem: Mapping[str, str],
    overrides: Sequence[str],
    before: Sequence[Mapping[str, str]],
    after: Sequence[Mapping[str, str]],
) -> list[str]:
    """Why some advice did not help: the problem is still there, or is followed by another.

    Args:
        problem: What was wrong.
        overrides: The advice, applied.
        before: All that was wrong then.
        after: All that is wrong now.
    """
    known = {(one["expected"], one["found"]) for one in before}
    bad: list[str] = []
    for one in after:
        if (one["expected"], one["found"]) == (problem["expected"], problem["found"]):
            bad.append(f"{' '.join(overrides)} leaves it: {one}")
        elif (one["expected"], one["found"]) not in known:
            bad.append(f"{' '.join(overrides)} is followed by: {one}")
    return bad


def corrected(problem: Mapping[str, str], words: Sequence[str]) -> list[list[str]]:
    """The command line with a wrong override written as the message proposes, for each alternative."""
    match = re.match(r"override '(.*?)'(?: |$)", problem["where"])
    if match is None or match[1] not in words:
        return []
    written = re.match(r"write (\S+?)(?:, or (\S+))?(?:[:;]|$)", problem["fix"])
    if written is None:
        return []
    at = list(words).index(match[1])
    return [[*words[:at], better, *words[at + 1 :]] for better in written.groups() if better]
