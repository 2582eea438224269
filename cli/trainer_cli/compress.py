"""`trainer compress`: trains a smaller network from a run: pruned, clustered, quantized."""

from __future__ import annotations

from typing import Annotated

import typer

from trainer.errors import UsageError
from trainer_cli import console
from trainer_cli.fit_output import RunView, Timings
from trainer_cli.following import Signals, show_training
from trainer_cli.options import (
    DEFAULT_RUNS,
    AllowCustom,
    Json,
    MaxSeconds,
    Quiet,
    RunPath,
    Runs,
    max_seconds_problems,
    runs_folder_problems,
)


def command(
    run: RunPath,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings that replace those of the run: optimizer.learning_rate=1e-4, "
            "compress.prune.end=0.7.",
            show_default=False,
        ),
    ] = None,
    prune: Annotated[
        float | None,
        typer.Option(
            "--prune", metavar="SHARE", help="Set this share of the weights to zero, such as 0.8."
        ),
    ] = None,
    cluster: Annotated[
        int | None,
        typer.Option(
            "--cluster",
            metavar="COUNT",
            help="Let the weights of each layer share this many values, such as 16.",
        ),
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option("--quantize", metavar="TYPE", help="Round weights in training: int8."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            help="Number of epochs.",
            show_default="as many as the run was trained, at least 10",
        ),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    max_seconds: MaxSeconds = None,
    quiet: Quiet = False,
    json: Json = False,
    timings: Timings = False,
    allow_custom: AllowCustom = False,
) -> int:
    """Train a smaller network from a run, as a new run, and print its directory.

    The smallest weights are pruned, weights are clustered, and rounded to integers; each alone or
    together. The report compares sizes, times and metrics before and after. `trainer resume` continues
    a compression that was stopped.

    Example: trainer compress runs/digits/20261122-141530-9f3c --prune 0.8 --cluster 16

    Example: trainer compress runs/fashion/20261122-141530-9f3c --prune 0.8 --quantize int8
    """
    problems = [*max_seconds_problems(max_seconds), *runs_folder_problems(runs)]
    if problems:
        raise UsageError(problems)
    signals = Signals()
    session = signals.session(allow_custom=allow_custom, max_seconds=max_seconds)
    stderr = console.Console(quiet=quiet)
    stderr.announce_loading(run)
    from trainer.workflows.compression import CompressOptions, compress_config
    from trainer.workflows.fit import fit_run

    options = CompressOptions(prune, cluster, quantize, epochs, tuple(arguments or ()))
    loaded = compress_config(run, options)
    view = RunView(stderr, json=json, timings=timings)
    return signals.run(lambda: show_training(fit_run(loaded, session, runs), view, signals))
