"""Differences between a run and the current state: config, data, packages, machine and files of the
run.

Each difference is a problem; `resume` decides what follows from them. No TensorFlow.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

from trainer.data.prepare import split_frame
from trainer.data.splits import SPLIT_NAMES
from trainer.engine.devices import Device
from trainer.errors import Problem, RunError
from trainer.runs.directory import RunDirectory
from trainer.runs.files import to_jsonable
from trainer.runs.manifest import DataFile, Manifest
from trainer.workflows.plan import RunPlan


def config_differences(run: RunDirectory, changed: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for each changed setting, key → "was → now"."""
    for key, text in changed.items():
        was, _, now = text.partition(" → ")
        yield Problem(f"{run.config} {key}", f"{was}, as in the run so far", now)


def data_differences(manifest: Manifest, plan: RunPlan) -> Iterator[Problem]:
    """Yield problems for data files that were added, removed or changed."""
    was = {file.path: file for file in manifest.data}
    now = {file.path: file for file in plan.dataset.table.files}
    for path in dict.fromkeys((*was, *now)):
        if path not in now:
            yield Problem(path, "this file of the data", "it is no longer read")
        elif path not in was:
            yield Problem(path, "the files of the run so far", "one more")
        elif was[path].sha256 != now[path].sha256:
            before, after = was[path], now[path]
            yield Problem(
                path,
                f"the content it had: {before.rows:,} rows, SHA-256 {before.sha256[:12]}…",
                f"{after.rows:,} rows, {after.sha256[:12]}…",
            )


def machine_differences(manifest: Manifest, current: Manifest) -> Iterator[Problem]:
    """Yield problems for changed packages, Python version and processor."""
    was = {**manifest.packages, "python": manifest.python, "processor": manifest.processor}
    now = {**current.packages, "python": current.python, "processor": current.processor}
    for name in dict.fromkeys((*was, *now)):
        if was.get(name) != now.get(name):
            found = now.get(name) or "none"
            yield Problem(name, f"{was.get(name) or 'none'}, as in the run so far", found)


def device_differences(manifest: Manifest, device: Device) -> Iterator[Problem]:
    """Yield a problem if the device or its number of threads has changed."""
    was = f"{manifest.device or 'none'}, {_threads(manifest.threads or 0)}"
    now = f"{device.name}, {_threads(device.threads)}"
    if was != now:
        yield Problem("device", f"{was}, as in the run so far", now)


def with_current_environment(
    manifest: Manifest, current: Manifest, plan: RunPlan, device: Device
) -> Manifest:
    """Return the manifest with the accepted differences, so that later ones are compared with it.

    Args:
        manifest: The former manifest.
        current: The manifest of the current machine.
        plan: The current plan.
        device: The current device.
    """
    return replace(
        manifest,
        version=current.version,
        python=current.python,
        platform=current.platform,
        processor=current.processor,
        packages=current.packages,
        device=device.name,
        threads=device.threads,
        data=tuple(DataFile(**asdict(file)) for file in plan.dataset.table.files),
        splits={name: plan.dataset.rows(name) for name in SPLIT_NAMES},
        dropped=plan.dataset.dropped,
    )


def check_fitted_data(run: RunDirectory, plan: RunPlan) -> None:
    """Check that the preprocessing and splits of the run are those of its config and data.

    Raises:
        RunError: They differ.
    """
    changed_files = []
    if to_jsonable(plan.dataset.preprocessing.to_json()) != run.read_preprocessing():
        changed_files.append(run.preprocessing)
    # Compare bytes: an untrusted file is not parsed.
    splits = io.BytesIO()
    split_frame(plan.dataset).write_parquet(splits)
    if splits.getvalue() != run.read_splits():
        changed_files.append(run.splits)
    if changed_files:
        raise RunError(
            Problem(
                str(path),
                "the result of its data and config",
                "other content",
                "restore the file from a copy of the run",
            )
            for path in changed_files
        )


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
