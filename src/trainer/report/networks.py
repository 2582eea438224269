"""The networks of a run: what was fitted for each, and its temperature."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.data.preprocessing import Preprocessing
from trainer.errors import DataError, RunError
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class Network:
    """A trained network of a run.

    Attributes:
        run: Its own run directory: the run's, or that of a member.
        preprocessing: What was fitted on its training rows.
        temperature: What its logits are divided by.
    """

    run: RunDirectory
    preprocessing: Preprocessing
    temperature: float


def read_networks(run: RunDirectory) -> tuple[Network, ...]:
    """The networks that predict for a run: its finished members, or itself; () where there are none.

    Raises:
        RunError: A file is damaged.
    """
    if not run.members.is_dir():
        return (_network(run),) if run.preprocessing.exists() else ()
    paths = sorted(path for path in run.members.iterdir() if path.name.isdecimal())
    members = [RunDirectory(path) for path in paths]
    return tuple(_network(one) for one in members if one.has_checkpoint("best"))


def _network(run: RunDirectory) -> Network:
    decisions = read_decisions(run)
    try:
        preprocessing = Preprocessing.from_json(run.read_preprocessing())
    except DataError as damaged:
        where = str(run.preprocessing)
        raise RunError(problem.at(where) for problem in damaged.problems) from damaged
    return Network(run, preprocessing, 1.0 if decisions is None else decisions.temperature)
