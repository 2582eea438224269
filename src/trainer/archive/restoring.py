"""Restore a run or sweep from an archive: all of it, verified, or nothing."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from trainer.archive.format import ArchivedFile, Index, check_recorded_hashes
from trainer.archive.reading import NewFile, read_archive
from trainer.errors import Problem, RunError
from trainer.runs.files import DISK, storage_errors
from trainer.runs.search import is_run
from trainer.runs.sweeps import is_sweep
from trainer.runs.temporary import temporary_sibling

_CONTENT = "content"


@dataclass(frozen=True, slots=True)
class RestoredArchive:
    """A run or sweep that was restored.

    Attributes:
        path: Its directory.
        files: Number of files.
        bytes: Their size.
    """

    path: Path
    files: int
    bytes: int


def restore_archive(
    archive: Path, target: Path | None, roots: dict[str, Path], key: bytes | None = None
) -> RestoredArchive:
    """Restore a run or sweep, verified by the hashes in the archive and in the run.

    Files get the permissions of other new files, the directory at most those that it had.

    Args:
        archive: The archive, which may be damaged or hostile.
        target: The directory to restore, which must not exist; None for
            `<folder>/<name of the experiment>/<name of the archived directory>`.
        roots: The folders of runs and of sweeps, for "run" and "sweep".
        key: The key of an encrypted archive.

    Raises:
        RunError: The archive is damaged or hostile, the key is wrong, or `target` exists; nothing is
            left behind.
        StorageError: The directory cannot be written; nothing is left behind.
    """
    with ExitStack() as stack:
        files = _RestoredFiles(archive, target, roots, stack)
        index = read_archive(archive, key, files)
        files.finish(index)
    return RestoredArchive(files.target, len(index.files), index.bytes)


class _RestoredFiles:
    """The directory that is being restored, in a temporary sibling until `finish`.

    Args:
        archive: The archive, for messages.
        target: The directory, or None; see `restore_archive`.
        roots: The folders of runs and of sweeps.
        stack: Removes what is temporary at its end.
    """

    def __init__(
        self, archive: Path, target: Path | None, roots: dict[str, Path], stack: ExitStack
    ) -> None:
        self._archive = archive
        self._target = target
        self._roots = roots
        self._stack = stack
        self._content = Path()

    @property
    def target(self) -> Path:
        """The directory; known once the index has been read."""
        assert self._target is not None
        return self._target

    def begin(self, index: Index) -> None:
        """Create the temporary directory.

        Raises:
            RunError: The target exists, or there is not enough free space.
            StorageError: It cannot be created.
        """
        if self._target is None:
            self._target = self._roots[index.kind] / index.name / index.directory
        _check_target(self._target)
        with storage_errors(self._target, "create this directory"):
            self._stack.callback(_remove_empty, _make_parents(self._target))
        _check_free_space(self._archive, self._target.parent, index.bytes)
        with storage_errors(self._target, "create this directory"):
            create = temporary_sibling(self._target, lambda path: path.mkdir(mode=0o700))
            self._content = self._stack.enter_context(create) / _CONTENT
            # The system removes the permissions in the umask.
            self._content.mkdir(mode=index.mode | 0o700)
        for folder in index.empty_directories:
            self._make(folder)

    def create(self, file: ArchivedFile) -> AbstractContextManager[NewFile]:
        """Create a file."""
        parent, _, _ = file.path.rpartition("/")
        if parent:
            self._make(parent)
        return _RestoredFile(self._content / file.path, self.target / file.path)

    def finish(self, index: Index) -> None:
        """Give the complete directory its name.

        Raises:
            RunError: It is not a run or sweep, its checkpoints have other hashes, or the target exists.
            StorageError: It cannot be renamed.
        """
        found = {"run": is_run, "sweep": is_sweep}[index.kind](self._content)
        if not found:
            fix = "use the archive of a run or a sweep"
            expected, content = f"the files of a {index.kind}", "other files"
            raise RunError(Problem(str(self._archive), expected, content, fix))
        try:
            check_recorded_hashes(self._content, index.files)
        except RunError as error:
            inside = f"{self._content}{os.sep}"
            raise RunError(
                Problem(
                    f"{self._archive}: {problem.where.removeprefix(inside)}",
                    problem.expected,
                    problem.found,
                    "archive an undamaged copy of the run",
                )
                for problem in error.problems
            ) from error
        with storage_errors(self.target, "write this directory"):
            for path in sorted(self._content.rglob("*")):
                if path.is_dir():
                    DISK.sync(path)
            DISK.sync(self._content)
            _check_target(self.target)
            DISK.rename(self._content, self.target)
            DISK.sync(self.target.parent)

    def _make(self, folder: str) -> None:
        with storage_errors(self.target / folder, "create this directory"):
            (self._content / folder).mkdir(parents=True, exist_ok=True)


class _RestoredFile:
    """A new file, flushed to disk at the end.

    Args:
        path: Where it is written.
        shown: Its path for messages.
    """

    def __init__(self, path: Path, shown: Path) -> None:
        self._shown = shown
        with storage_errors(shown, "write this file"):
            self._file = path.open("xb")

    def write(self, data: bytes, /) -> None:
        """Append some bytes."""
        with storage_errors(self._shown, "write this file"):
            self._file.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            # Another error is more important than one of flushing.
            with suppress(OSError):
                self._file.close()
            return
        with storage_errors(self._shown, "write this file"), self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


def _check_target(target: Path) -> None:
    """Check that nothing is overwritten.

    Raises:
        RunError: The target exists.
    """
    if os.path.lexists(target):
        fix = "choose another directory with -o"
        expected = "a directory that does not exist yet"
        raise RunError(Problem(str(target), expected, "an existing path", fix))


def _check_free_space(archive: Path, folder: Path, size: int) -> None:
    """Check that there is enough disk space.

    Raises:
        RunError: There is not.
    """
    with storage_errors(folder, "read the free space of this directory"):
        free = shutil.disk_usage(folder).free
    if size > free:
        expected = f"an archive of at most {free:,} bytes, the free space in {folder}"
        fix = "free up space there, or restore it elsewhere with -o"
        raise RunError(Problem(str(archive), expected, f"{size:,} bytes", fix))


def _make_parents(target: Path) -> list[Path]:
    """Create the missing parents of a directory; return them, the deepest first."""
    missing = [parent for parent in target.absolute().parents if not parent.exists()]
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Remove those of the folders that are empty, the deepest first."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
