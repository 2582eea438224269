"""Extract the settings that a message suggests as overrides, so that tests can apply them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_SECTION = r"(?:data|model|optimizer|fit|evaluate|runtime|sweep|loss|metrics|track|seed|name)"
_KEY = re.compile(rf"~?{_SECTION}(?:\.(?:[A-Za-z_][\w-]*|\d+|\"[^\"]+\"|'[^']+'))*")
_SET = re.compile(rf"(?:({_KEY.pattern})(?:: |=)|\bset ({_KEY.pattern}) to )(?=\S)")
_REMOVED = re.compile(rf"remove ({_KEY.pattern})(?: and ({_KEY.pattern}))?(?=[,;]|$| or )")
_CLOSING = {"[": "]", "{": "}", '"': '"', "'": "'"}


def alternatives(problem: Mapping[str, str]) -> list[list[str]]:
    """Return the alternatives of a fix, each as overrides that set or remove settings.

    Args:
        problem: `where` (with the setting, if any, at its end) and `fix`.

    Returns:
        The alternatives; empty if the fix cannot be applied on the command line, such as to edit a file.
    """
    fix = problem["fix"]
    if problem["where"].startswith("override "):
        return []
    key = next(iter(reversed(problem["where"].split(" "))), "")
    is_setting = _KEY.fullmatch(key) is not None
    proposals: list[list[str]] = []
    end = -1
    for match in _SET.finditer(fix):
        value = _value(fix[match.end() :])
        if match[2] and value in {"a", "an", "another", "the", "one"}:
            continue
        override = f"{match[1] or match[2]}={value}"
        if proposals and fix[end : match.start()] == " and ":
            proposals[-1].append(override)
        else:
            proposals.append([override])
        end = match.end() + len(value)
    proposals += [
        [f"~{name.lstrip('~')}" for name in match.groups() if name]
        for match in _REMOVED.finditer(fix)
    ]
    if is_setting and re.search(r"\b(remove it|leave it out)\b", fix):
        proposals.append([f"~{key}"])
    if is_setting and (match := re.fullmatch(r"write (\S+|\[.*\]|'[^']*'|\"[^\"]*\")", fix)):
        proposals.append([f"{key}={match[1]}"])
    return proposals


def _value(text: str) -> str:
    """Return the value at the start of a text: a whole list, mapping or quoted text, else a word."""
    if text[:1] in (",", ";"):
        return text[0]
    depth: list[str] = []
    for index, character in enumerate(text):
        if depth and character == depth[-1]:
            depth.pop()
            if not depth:
                return text[: index + 1]
        elif depth and depth[-1] in "\"'":
            continue
        elif character in _CLOSING and (depth or index == 0):
            depth.append(_CLOSING[character])
        elif not depth and character in " ,;)":
            return text[:index]
    return text.rstrip(".")


def unsolved(
    problem: Mapping[str, str],
    overrides: Sequence[str],
    before: Sequence[Mapping[str, str]],
    after: Sequence[Mapping[str, str]],
) -> list[str]:
    """Return the reasons why a fix did not work: the problem remains, or a new one appears.

    Args:
        problem: The problem.
        overrides: The overrides that were applied.
        before: All problems before.
        after: All problems after.
    """
    known = {(item["expected"], item["found"]) for item in before}
    reasons: list[str] = []
    for item in after:
        if (item["expected"], item["found"]) == (problem["expected"], problem["found"]):
            reasons.append(f"{' '.join(overrides)} does not solve: {item}")
        elif (item["expected"], item["found"]) not in known:
            reasons.append(f"{' '.join(overrides)} causes: {item}")
    return reasons


def corrected(problem: Mapping[str, str], arguments: Sequence[str]) -> list[list[str]]:
    """Return the command line with an invalid override fixed, for each alternative of the fix."""
    match = re.match(r"override '(.*?)'(?: |$)", problem["where"])
    if match is None or match[1] not in arguments:
        return []
    written = re.match(r"write (\S+?)(?:, or (\S+))?(?:[:;]|$)", problem["fix"])
    if written is None:
        return []
    index = list(arguments).index(match[1])
    return [
        [*arguments[:index], better, *arguments[index + 1 :]]
        for better in written.groups()
        if better
    ]
