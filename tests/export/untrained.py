"""Runs with random weights, written as `trainer fit` writes them, but without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config.dump import dump_config
from trainer.config.load import load_config
from trainer.config.yaml_writer import block_text
from trainer.data.raw_rows import example_row
from trainer.models.network import build_network
from trainer.models.saving import save_network
from trainer.models.weights import values_sha256
from trainer.runs.checkpoints import write_checkpoint
from trainer.runs.decisions import Decisions, write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.example import write_example
from trainer.workflows.plan import make_plan
from trainer.workflows.plans import manifest_of_plan
from trainer.workflows.recording import fitted_data, write_fitted_data

START = datetime(2026, 11, 22, 14, 15, 30, tzinfo=UTC)


def write_run(
    folder: Path,
    settings: Mapping[str, Any],
    *overrides: str,
    members: Sequence[Sequence[str]] = (),
    decisions: Decisions | None = None,
    seed: int = 0,
) -> Path:
    """Write a finished run and return its directory.

    Args:
        folder: Where the config is written; the paths in it are relative to it.
        settings: The config.
        overrides: Settings that override it.
        members: Overrides of each member; empty for a single network.
        decisions: The decisions of the run.
        seed: Seed of the weights.
    """
    config = folder / "config.yaml"
    config.write_text(block_text(dict(settings)), encoding="utf-8")
    run = RunDirectory(folder / "run")
    run.path.mkdir()
    _write_network(run, config, overrides, decisions, seed)
    if members:
        run.members.mkdir()
        run.packs.mkdir()
        for number, more in enumerate(members, start=1):
            member = RunDirectory(run.member(number))
            member.path.mkdir()
            _write_network(member, config, [*overrides, *more], decisions, seed + number)
        for path in (run.preprocessing, *run.best.iterdir()):
            path.unlink()
        run.best.rmdir()
    return run.path


def _write_network(
    run: RunDirectory,
    config: Path,
    overrides: Sequence[str],
    decisions: Decisions | None,
    seed: int,
) -> None:
    plan = make_plan(load_config(config, overrides))
    network = build_network(
        plan.config, plan.network, plan.task.prior(), allow_custom=False, base=config.parent
    )
    randomize(network, seed)
    run.write_manifest(
        manifest_of_plan(plan, ("trainer", "fit"), START).with_end("finished", START)
    )
    run.write_config(dump_config(plan.config))
    write_fitted_data(run, fitted_data(plan))
    write_example(run, example_row(plan.dataset))
    metadata = {"epoch": 1, "weights_sha256": values_sha256(network.get_weights())}
    write_checkpoint(run.best, lambda path: save_network(network, path), {}, metadata)
    write_decisions(run, decisions or Decisions())


def randomize(network: Any, seed: int) -> None:
    """Add noise to all weights, so that biases and statistics are not 0 and 1."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        value = np.asarray(weight) + rng.normal(size=weight.shape) * 0.1
        weight.assign(np.abs(value) if weight.path.endswith("variance") else value)


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a CSV file; None is an empty cell."""
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns)]
    lines += [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
