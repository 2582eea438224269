"""The run directory: where each file of a run is, and how a run is made and found.

    <root>/<name>/<time>-<short hash>/
        config.yaml  manifest.json  preprocessing.json  splits.parquet  metrics.jsonl
        timing.jsonl  checkpoints/{last,last-1,…,best}/  evaluation/<split>.json  predictions/
        decisions.json  findings.json  example.json  explanation/  report.html
        tensorboard/  tracking.json  lock

Every path is made from the directory's own; none is ever read from a file.

Owns: the layout, making a run. Does not own: what a path means (`opening`), looking for runs
(`search`), the content of `manifest.json` (`manifest`), of checkpoints (`checkpoints`), of the log
(`log`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from trainer.errors import Problem, RunError, StorageError
from trainer.runs.evaluations import Evaluation, read_evaluation
from trainer.runs.files import (
    existing_directory,
    former_directories,
    json_bytes,
    read_bytes,
    read_json,
    remove_leftovers,
    remove_temporaries,
    storage_errors,
    storage_problem,
    write_atomically,
)
from trainer.runs.manifest import Manifest, read_manifest, write_manifest
from trainer.runs.records import to_json

_COLLISIONS = 1000


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run on disk.

    Reading raises `RunError` when a file is missing or damaged, writing `StorageError`.

    Attributes:
        path: The directory, as it is to be shown.
    """

    path: Path

    @classmethod
    def create(cls, root: Path, name: str, config_text: str, now: datetime) -> Self:
        """Makes a new, empty directory, `root/name/<time in UTC>-<hash of config and time>`.

        Args:
            root: Where runs are kept; made when missing.
            name: One path component.
            config_text: The resolved config.
            now: With a time zone.

        Raises:
            RunError: Runs cannot be made there.
            StorageError: The disk is full or fails.
        """
        if name != Path(name).name or name in {"", ".", ".."} or now.tzinfo is None:
            raise ValueError(f"name {name!r}, now {now!r}")
        parent = root / name
        stamp = now.astimezone(UTC).strftime("%Y%m%d-%H%M%S")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(_COLLISIONS):
                text = f"{config_text}\n{now.isoformat()}\n{attempt}"
                digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
                path = parent / f"{stamp}-{digest[: 4 if attempt < 10 else 8]}"
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return cls(path)
        except OSError as error:
            problem = storage_problem(Path(error.filename or parent), "make a run directory", error)
            kind = StorageError if error.errno in _FAULTS else RunError
            raise kind(problem) from error
        raise RunError(
            Problem(str(parent), "a free name for a run", f"{_COLLISIONS} taken ones", "try again")
        )

    @classmethod
    def at(cls, path: Path) -> Self:
        """Makes the directory of a run that is one of several, or takes the one that is there.

        Raises:
            StorageError: It cannot be made.
        """
        with storage_errors(path, "make a run directory"):
            path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @property
    def config(self) -> Path:
        """The resolved config; `fit` on it repeats the run."""
        return self.path / "config.yaml"

    @property
    def manifest(self) -> Path:
        """What ran, on what, and how it ended."""
        return self.path / "manifest.json"

    @property
    def preprocessing(self) -> Path:
        """Everything fitted on the training rows."""
        return self.path / "preprocessing.json"

    @property
    def splits(self) -> Path:
        """Source row number → train, validation or test."""
        return self.path / "splits.parquet"

    @property
    def metrics(self) -> Path:
        """One object an epoch."""
        return self.path / "metrics.jsonl"

    @property
    def timing(self) -> Path:
        """The seconds of each epoch, which no two runs have alike."""
        return self.path / "timing.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The directory of `last` and `best`."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The checkpoint training goes on from."""
        return self.checkpoint("last")

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.checkpoint("best")

    @property
    def evaluation(self) -> Path:
        """The directory of `<split>.json`."""
        return self.path / "evaluation"

    @property
    def predictions(self) -> Path:
        """The directory of predictions."""
        return self.path / "predictions"

    @property
    def explanation(self) -> Path:
        """The directory of what the network looks at."""
        return self.path / "explanation"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        """The directory of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def tracking(self) -> Path:
        """Where the run is in the stores of trackers."""
        return self.path / "tracking.json"

    @property
    def lock(self) -> Path:
        """Who writes the run now."""
        return self.path / "lock"

    def checkpoint(self, name: str) -> Path:
        """The directory of a checkpoint by its name."""
        return self.checkpoints / _component(name)

    def is_over(self) -> bool:
        """Whether it has a manifest that says it finished or failed.

        Raises:
            RunError: The manifest is damaged.
        """
        return self.manifest.exists() and self.read_manifest().status in {"finished", "failed"}

    def has_checkpoint(self, name: str) -> bool:
        """Whether a checkpoint was ever written."""
        return existing_directory(self.checkpoint(name)) is not None

    def checkpoint_names(self) -> tuple[str, ...]:
        """The checkpoints there are: last, best, then the former ones, the newest first."""
        names = [name for name in ("last", "best") if self.has_checkpoint(name)]
        return (*names, *(path.name for path in former_directories(self.last)))

    def clear_history(self) -> None:
        """Removes the logs of a run that begins again; for its only writer."""
        with storage_errors(self.path, "remove the logs of the run"):
            for log in (self.metrics, self.timing):
                log.unlink(missing_ok=True)

    def remove_leftovers(self, keep: int) -> None:
        """Removes what a killed writer left behind; for the owner of `lock`.

        `keep` is how many checkpoints are kept, `last` included.
        """
        remove_leftovers(self.last, keep=keep)
        remove_leftovers(self.best)
        remove_temporaries(self.path)
        for folder in (self.evaluation, self.predictions, self.explanation):
            remove_temporaries(folder)

    def write_config(self, text: str) -> None:
        """Writes `config.yaml`."""
        write_atomically(self.config, text.encode("utf-8"))

    def write_manifest(self, manifest: Manifest) -> None:
        """Writes `manifest.json`."""
        write_manifest(self.manifest, manifest)

    def read_manifest(self) -> Manifest:
        """Reads `manifest.json`."""
        return read_manifest(self.manifest)

    def write_preprocessing(self, value: Any) -> None:
        """Writes `preprocessing.json`."""
        write_atomically(self.preprocessing, json_bytes(value))

    def read_preprocessing(self) -> Any:
        """Reads `preprocessing.json`; what it means is for the reader to check."""
        return read_json(self.preprocessing)

    def write_splits(self, content: bytes) -> None:
        """Writes `splits.parquet`."""
        write_atomically(self.splits, content)

    def read_splits(self) -> bytes:
        """Reads `splits.parquet`."""
        return read_bytes(self.splits)

    def write_evaluation(self, split: str, evaluation: Evaluation) -> None:
        """Writes `evaluation/<split>.json`."""
        _make(self.evaluation)
        content = json_bytes(to_json(evaluation))
        write_atomically(self.evaluation / f"{_component(split)}.json", content)

    def read_evaluations(self) -> dict[str, Evaluation]:
        """The evaluations there are, by split: validation, test, then others by name."""
        return {path.stem: read_evaluation(path) for path in self.evaluation_files()}

    def evaluation_files(self) -> list[Path]:
        """The files of `evaluation/`: validation, test, then others by name."""
        first = {"train": 0, "validation": 1, "test": 2}
        try:
            names = [entry.name for entry in os.scandir(self.evaluation)]
        except OSError:
            return []
        stems = [
            name.removesuffix(".json")
            for name in names
            if name.endswith(".json") and not name.startswith(".")
        ]
        stems.sort(key=lambda stem: (first[stem] if stem in first else len(first), stem))
        return [self.evaluation / f"{stem}.json" for stem in stems]

    @property
    def decisions(self) -> Path:
        """What was chosen on the validation rows."""
        return self.path / "decisions.json"

    def write_decisions(self, value: Any) -> None:
        """Writes `decisions.json`."""
        write_atomically(self.decisions, json_bytes(value))

    @property
    def findings(self) -> Path:
        """What the answers of the run come to."""
        return self.path / "findings.json"

    def write_findings(self, value: Any) -> None:
        """Writes `findings.json`; numbers that are not finite become null."""
        write_atomically(self.findings, json_bytes(value))

    @property
    def example(self) -> Path:
        """A row in plain values, for the example of the report."""
        return self.path / "example.json"

    def write_example(self, value: Any) -> None:
        """Write `example.json`."""
        write_atomically(self.example, json_bytes(value))

    def write_tracking(self, value: Any) -> None:
        """Writes `tracking.json`."""
        write_atomically(self.tracking, json_bytes(value))

    def read_tracking(self) -> Any:
        """Reads `tracking.json`; None where there is none."""
        return read_json(self.tracking) if self.tracking.exists() else None

    def write_report(self, text: str) -> None:
        """Writes `report.html`."""
        write_atomically(self.report, text.encode("utf-8"))

    def write_predictions(self, name: str, content: bytes) -> None:
        """Writes a file of `predictions/`."""
        _make(self.predictions)
        write_atomically(self.predictions / _component(name), content)

    def read_predictions(self, name: str) -> bytes:
        """Reads a file of `predictions/`."""
        return read_bytes(self.predictions / _component(name))

    def write_explanation(self, name: str, content: bytes) -> None:
        """Writes a file of `explanation/`."""
        _make(self.explanation)
        write_atomically(self.explanation / _component(name), content)

    def read_explanation(self, name: str) -> Any:
        """Reads a JSON file of `explanation/`."""
        return read_json(self.explanation / _component(name))

    @property
    def members(self) -> Path:
        """The directory of the runs that a run with repeats or folds consists of."""
        return self.path / "members"

    def member(self, number: int) -> Path:
        """The run directory of a member."""
        return self.members / f"{number:04d}"

    @property
    def packs(self) -> Path:
        """The directory of what is kept of members while they train."""
        return self.path / "packs"

    @property
    def out_of_fold(self) -> Path:
        """What the members said of rows that they were not trained with."""
        return self.predictions / "out_of_fold.parquet"


_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE}


def _make(directory: Path) -> None:
    with storage_errors(directory, "make this directory"):
        # Not its parents: a run that was removed while it trained is not to come back in part.
        directory.mkdir(exist_ok=True)


def _component(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._ -]*", name):
        raise ValueError(f"{name!r} is not one path component")
    return name
