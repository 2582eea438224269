"""The run directory: its layout, and how it is created.

    <root>/<name>/<time>-<short hash>/
        config.yaml  proposed.yaml  manifest.json  preprocessing.json  splits.parquet  metrics.jsonl
        timing.jsonl  checkpoints/{last,last-1,…,best}/  evaluation/<split>.json  predictions/
        decisions.json  findings.json  compression.json  example.json  explanation/  samples/  export/
        monitoring/  report.html  tensorboard/  tracking.json  lock

Every path is derived from the directory's own path; none is ever read from a file.
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
from trainer.runs.directory_versions import (
    existing_directory,
    previous_directories,
    remove_leftovers,
)
from trainer.runs.evaluations import Evaluation, read_evaluation
from trainer.runs.files import (
    json_bytes,
    read_bytes,
    read_json,
    remove_temporary_files,
    storage_errors,
    storage_problem,
    write_atomically,
)
from trainer.runs.manifest import Manifest, read_manifest, write_manifest
from trainer.runs.records import to_json

PROPOSED_CONFIG = "proposed.yaml"
"""The commented config of a run of a table."""

_MAX_ATTEMPTS = 1000


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """A run on disk.

    Reading raises `RunError` if a file is missing or damaged; writing raises `StorageError`.

    Attributes:
        path: The directory, as shown to the user.
    """

    path: Path

    @classmethod
    def create(
        cls, root: Path, name: str, config_text: str, now: datetime, mode: int | None = None
    ) -> Self:
        """Create an empty directory, `root/name/<time in UTC>-<hash of config and time>`.

        Args:
            root: The folder of runs; created if missing.
            name: One path component.
            config_text: The resolved config.
            now: Must have a time zone.
            mode: The permissions of the directory; None for those of other new directories.

        Raises:
            RunError: Runs cannot be created there.
            StorageError: The disk is full or fails.
        """
        if name != Path(name).name or name in {"", ".", ".."} or now.tzinfo is None:
            raise ValueError(f"name {name!r}, now {now!r}")
        parent = root / name
        stamp = now.astimezone(UTC).strftime("%Y%m%d-%H%M%S")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(_MAX_ATTEMPTS):
                text = f"{config_text}\n{now.isoformat()}\n{attempt}"
                digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
                path = parent / f"{stamp}-{digest[: 4 if attempt < 10 else 8]}"
                try:
                    path.mkdir(0o777 if mode is None else mode)
                except FileExistsError:
                    continue
                if mode is not None:
                    path.chmod(mode)  # the umask has removed some
                return cls(path)
        except OSError as error:
            path = Path(error.filename or parent)
            problem = storage_problem(path, "create a run directory", error)
            kind = StorageError if error.errno in _FAULTS else RunError
            raise kind(problem) from error
        raise RunError(
            Problem(str(parent), "an unused run name", f"{_MAX_ATTEMPTS} names in use", "try again")
        )

    @classmethod
    def open_or_create(cls, path: Path) -> Self:
        """Return the run directory at a fixed path, such as a member's; create it if missing.

        Raises:
            StorageError: The directory cannot be created.
        """
        with storage_errors(path, "create a run directory"):
            path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @property
    def config(self) -> Path:
        """The resolved config; `trainer fit` on it repeats the run."""
        return self.path / "config.yaml"

    @property
    def proposed_config(self) -> Path:
        """The commented config that was proposed for a table; only in a run of a table."""
        return self.path / PROPOSED_CONFIG

    @property
    def manifest(self) -> Path:
        """Versions, data files, settings and status of the run."""
        return self.path / "manifest.json"

    @property
    def preprocessing(self) -> Path:
        """The preprocessing fitted on the training rows."""
        return self.path / "preprocessing.json"

    @property
    def splits(self) -> Path:
        """The split of each source row: train, validation or test."""
        return self.path / "splits.parquet"

    @property
    def metrics(self) -> Path:
        """The metrics log: one JSON object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def timing(self) -> Path:
        """The seconds of each epoch; separate from the metrics because they differ between runs."""
        return self.path / "timing.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The directory of `last` and `best`."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The checkpoint that training resumes from."""
        return self.checkpoint("last")

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.checkpoint("best")

    @property
    def evaluation(self) -> Path:
        """The directory of evaluation results."""
        return self.path / "evaluation"

    @property
    def predictions(self) -> Path:
        """The directory of predictions."""
        return self.path / "predictions"

    @property
    def explanation(self) -> Path:
        """The directory of feature importance and other explanations."""
        return self.path / "explanation"

    @property
    def samples(self) -> Path:
        """The directory of the samples of a generator after each epoch."""
        return self.path / "samples"

    @property
    def exports(self) -> Path:
        """The directory of exported models, one for each format."""
        return self.path / "export"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        """The directory of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def tracking(self) -> Path:
        """The ids of the run in experiment trackers."""
        return self.path / "tracking.json"

    @property
    def compression(self) -> Path:
        """Sizes and metrics of a compressed network, before and after."""
        return self.path / "compression.json"

    @property
    def lock(self) -> Path:
        """The lock file, which names the process that is writing the run."""
        return self.path / "lock"

    def checkpoint(self, name: str) -> Path:
        """Return the directory of a checkpoint."""
        return self.checkpoints / _component(name)

    def has_ended(self) -> bool:
        """Return whether the run has finished or failed, and was not ended by a time limit.

        Raises:
            RunError: The manifest is damaged.
        """
        if not self.manifest.exists():
            return False
        manifest = self.read_manifest()
        return manifest.status in {"finished", "failed"} and not manifest.is_out_of_time

    def has_checkpoint(self, name: str) -> bool:
        """Return whether a checkpoint was ever written."""
        return existing_directory(self.checkpoint(name)) is not None

    def checkpoint_names(self) -> tuple[str, ...]:
        """Return the names of existing checkpoints: last, best, then previous ones, newest first."""
        names = [name for name in ("last", "best") if self.has_checkpoint(name)]
        return (*names, *(path.name for path in previous_directories(self.last)))

    def clear_logs(self) -> None:
        """Remove the logs of a run that restarts; call only while holding `lock`."""
        with storage_errors(self.path, "remove the logs of the run"):
            for log in (self.metrics, self.timing):
                log.unlink(missing_ok=True)

    def remove_leftovers(self, keep: int) -> None:
        """Remove what a killed writer left, and all but `keep` last checkpoints; call with `lock`."""
        remove_leftovers(self.last, keep=keep)
        remove_leftovers(self.best)
        remove_temporary_files(self.path)
        for folder in (self.evaluation, self.predictions, self.explanation, self.samples):
            remove_temporary_files(folder)

    def write_config(self, text: str) -> None:
        """Write `config.yaml`."""
        write_atomically(self.config, text.encode("utf-8"))

    def write_proposed_config(self, text: str) -> None:
        """Write `proposed.yaml`."""
        write_atomically(self.proposed_config, text.encode("utf-8"))

    def write_manifest(self, manifest: Manifest) -> None:
        """Write `manifest.json`."""
        write_manifest(self.manifest, manifest)

    def read_manifest(self) -> Manifest:
        """Read `manifest.json`."""
        return read_manifest(self.manifest)

    def write_preprocessing(self, value: Any) -> None:
        """Write `preprocessing.json`."""
        write_atomically(self.preprocessing, json_bytes(value))

    def read_preprocessing(self) -> Any:
        """Read `preprocessing.json`; the caller validates its content."""
        return read_json(self.preprocessing)

    def write_splits(self, content: bytes) -> None:
        """Write `splits.parquet`."""
        write_atomically(self.splits, content)

    def read_splits(self) -> bytes:
        """Read `splits.parquet`."""
        return read_bytes(self.splits)

    def write_evaluation(self, split: str, evaluation: Evaluation) -> None:
        """Write `evaluation/<split>.json`."""
        _make(self.evaluation)
        content = json_bytes(to_json(evaluation))
        write_atomically(self.evaluation / f"{_component(split)}.json", content)

    def read_evaluations(self) -> dict[str, Evaluation]:
        """Read all evaluations, by split: train, validation, test, then others by name."""
        return {path.stem: read_evaluation(path) for path in self.evaluation_files()}

    def evaluation_files(self) -> list[Path]:
        """Return the files of `evaluation/`: train, validation, test, then others by name."""
        order = {"train": 0, "validation": 1, "test": 2}
        try:
            names = [entry.name for entry in os.scandir(self.evaluation)]
        except OSError:
            return []
        stems = [
            name.removesuffix(".json")
            for name in names
            if name.endswith(".json") and not name.startswith(".")
        ]
        stems.sort(key=lambda stem: (order[stem] if stem in order else len(order), stem))
        return [self.evaluation / f"{stem}.json" for stem in stems]

    @property
    def decisions(self) -> Path:
        """Choices made on the validation rows, such as the threshold."""
        return self.path / "decisions.json"

    def write_decisions(self, value: Any) -> None:
        """Write `decisions.json`."""
        write_atomically(self.decisions, json_bytes(value))

    @property
    def findings(self) -> Path:
        """The analysis of the run's predictions."""
        return self.path / "findings.json"

    def write_findings(self, value: Any) -> None:
        """Write `findings.json`; NaN and ±∞ become null."""
        write_atomically(self.findings, json_bytes(value))

    @property
    def example(self) -> Path:
        """An input row as raw values, for the report's code example."""
        return self.path / "example.json"

    def write_example(self, value: Any) -> None:
        """Write `example.json`."""
        write_atomically(self.example, json_bytes(value))

    def write_tracking(self, value: Any) -> None:
        """Write `tracking.json`."""
        write_atomically(self.tracking, json_bytes(value))

    def read_tracking(self) -> Any:
        """Read `tracking.json`; None if it does not exist."""
        return read_json(self.tracking) if self.tracking.exists() else None

    def write_report(self, text: str) -> None:
        """Write `report.html`."""
        write_atomically(self.report, text.encode("utf-8"))

    def write_predictions(self, name: str, content: bytes) -> None:
        """Write a file of `predictions/`."""
        _make(self.predictions)
        write_atomically(self.predictions / _component(name), content)

    def read_predictions(self, name: str) -> bytes:
        """Read a file of `predictions/`."""
        return read_bytes(self.predictions / _component(name))

    def write_explanation(self, name: str, content: bytes) -> None:
        """Write a file of `explanation/`."""
        _make(self.explanation)
        write_atomically(self.explanation / _component(name), content)

    @property
    def members(self) -> Path:
        """The directory of the member runs of a run with repeats or folds."""
        return self.path / "members"

    @property
    def has_members(self) -> bool:
        """Whether this is a run with repeats or folds."""
        return self.packs.is_dir() and self.manifest.exists()

    def member(self, number: int) -> Path:
        """Return the run directory of a member."""
        return self.members / f"{number:04d}"

    @property
    def packs(self) -> Path:
        """The directory of training state of members that are trained together."""
        return self.path / "packs"

    @property
    def out_of_fold(self) -> Path:
        """Predictions for each row by members that were not trained on it."""
        return self.predictions / "out_of_fold.parquet"


_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE}


def _make(directory: Path) -> None:
    with storage_errors(directory, "create this directory"):
        # Not its parents: a run that was deleted during training must not be partially recreated.
        directory.mkdir(exist_ok=True)


def _component(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._ -]*", name):
        raise ValueError(f"{name!r} is not one path component")
    return name
