"""The networks of a run, each with its fitted preprocessing and temperature."""

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
        run: Its run directory: that of the run or of a member.
        preprocessing: The preprocessing fitted on its training rows.
        temperature: The temperature that its logits are divided by.
    """

    run: RunDirectory
    preprocessing: Preprocessing
    temperature: float


def read_networks(run: RunDirectory) -> tuple[Network, ...]:
    """Read the networks that predict for a run: its finished members, or itself; may be empty.

    Raises:
        RunError: A file is damaged.
    """
    if not run.members.is_dir():
        return (_network(run),) if run.preprocessing.exists() else ()
    paths = sorted(path for path in run.members.iterdir() if path.name.isdecimal())
    members = [RunDirectory(path) for path in paths]
    return tuple(_network(member) for member in members if member.has_checkpoint("best"))


def _network(run: RunDirectory) -> Network:
    decisions = read_decisions(run)
    try:
        preprocessing = Preprocessing.from_json(run.read_preprocessing())
    except DataError as error:
        where = str(run.preprocessing)
        raise RunError(problem.at(where) for problem in error.problems) from error
    return Network(run, preprocessing, 1.0 if decisions is None else decisions.temperature)
