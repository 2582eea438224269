"""Differences between two manifests of a run: data, packages, machine and device."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.errors import Problem
from trainer.runs.manifest import PRETRAINED, Manifest


def data_differences(was: Manifest, now: Manifest) -> Iterator[Problem]:
    """Yield problems for data files that were added, removed or changed, and a changed base network."""
    bases = (
        {record for record in manifest.initial_weights if record.setting == PRETRAINED}
        for manifest in (was, now)
    )
    for before, after in zip(*bases, strict=False):
        if before.sha256 != after.sha256:
            found = f"SHA-256 {after.sha256[:12]}…"
            yield Problem(after.path, f"the content it had: SHA-256 {before.sha256[:12]}…", found)
    files_before = {file.path: file for file in was.data}
    files_now = {file.path: file for file in now.data}
    for path in dict.fromkeys((*files_before, *files_now)):
        if path not in files_now:
            yield Problem(path, "this data file, as in the run so far", "it is no longer used")
        elif path not in files_before:
            yield Problem(path, "the data files of the run so far", "an additional file")
        elif files_before[path].sha256 != files_now[path].sha256:
            before, after = files_before[path], files_now[path]
            yield Problem(
                path,
                f"unchanged content: {before.rows:,} rows, SHA-256 {before.sha256[:12]}…",
                f"{after.rows:,} rows, {after.sha256[:12]}…",
            )


def machine_differences(was: Manifest, now: Manifest) -> Iterator[Problem]:
    """Yield problems for changed packages, Python version and processor."""
    versions_before, versions_now = (
        {**manifest.packages, "python": manifest.python, "processor": manifest.processor}
        for manifest in (was, now)
    )
    for name in dict.fromkeys((*versions_before, *versions_now)):
        before, after = versions_before.get(name), versions_now.get(name)
        if before != after:
            yield Problem(name, f"{before or 'none'}, as in the run so far", after or "none")


def device_differences(was: Manifest, now: Manifest) -> Iterator[Problem]:
    """Yield a problem if the device or its number of threads has changed."""
    before, after = (
        f"{manifest.device or 'none'}, {_threads(manifest.threads or 0)}" for manifest in (was, now)
    )
    if before != after:
        yield Problem("device", f"{before}, as in the run so far", after)


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
