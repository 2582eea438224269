"""Where the setting or file of a problem is, as the user would write it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from trainer.config.load import LoadedConfig
from trainer.errors import Problem, TrainerError


@contextmanager
def locate_problems(loaded: LoadedConfig) -> Iterator[None]:
    """Context manager that adds locations of settings to problems and shortens paths in them.

    Problems that name a config key get the location of the setting. Paths below the working directory
    become relative.
    """
    try:
        yield
    except TrainerError as error:
        raise type(error)(
            with_relative_paths(loaded.locate(problem)) for problem in error.problems
        ) from error


def with_relative_paths(problem: Problem) -> Problem:
    """Return the problem with paths below the working directory made relative."""
    working_directory = os.getcwd()  # noqa: PTH109 (a prefix of texts, not a path)
    if working_directory == os.sep:
        return problem
    # Do not match the end or the middle of another path.
    path = re.compile(rf"(?<![^\s'\"(]){re.escape(working_directory)}{os.sep}(?=.)")
    return replace(
        problem,
        where=path.sub("", problem.where),
        expected=path.sub("", problem.expected),
        found=path.sub("", problem.found),
        fix=path.sub("", problem.fix),
    )
