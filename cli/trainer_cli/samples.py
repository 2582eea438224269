"""Draw samples from the generator of a run: options and output of `trainer predict`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from trainer.errors import Problem, UsageError, pluralize
from trainer_cli import console

DEFAULT_COUNT = 1000
_MAX_COUNT = 10_000_000

SampleCount = Annotated[
    int | None,
    typer.Option(
        "--count",
        help="Number of samples (task: generate).",
        show_default=str(DEFAULT_COUNT),
    ),
]
SampleSeed = Annotated[
    int | None,
    typer.Option("--seed", help="Seed of the samples (task: generate).", show_default="0"),
]
SampleClass = Annotated[
    str | None,
    typer.Option(
        "--class",
        help="Draw samples of this class (task: generate with generation.condition).",
        show_default="all classes",
    ),
]


@dataclass(frozen=True, slots=True)
class Sampling:
    """The options: number of samples, seed and class, None where not given."""

    count: int | None
    seed: int | None
    class_name: str | None

    @property
    def given(self) -> list[str]:
        """The names of the options that are given."""
        options = {"--count": self.count, "--seed": self.seed, "--class": self.class_name}
        return [name for name, value in options.items() if value is not None]

    def check(self) -> None:
        """Check the values.

        Raises:
            UsageError: One is out of range.
        """
        problems = []
        if self.count is not None and not 1 <= self.count <= _MAX_COUNT:
            expected = f"a number from 1 to {_MAX_COUNT:,}"
            problems.append(Problem("--count", expected, f"{self.count}"))
        if self.seed is not None and not 0 <= self.seed < 2**63:
            problems.append(Problem("--seed", "a number of at least 0", f"{self.seed}"))
        if problems:
            raise UsageError(problems)


def draw(
    run: Path,
    out: Path,
    sampling: Sampling,
    device: Literal["auto", "cpu", "gpu"],
    *,
    quiet: bool,
    json: bool,
) -> None:
    """Draw samples from a run and write them."""
    sampling.check()
    is_stdout = str(out) == "-"
    if is_stdout and json:
        expected, fix = "one result on stdout", "use only one of them"
        raise UsageError(Problem("trainer predict", expected, "-o - and --json", fix))
    stderr = console.Console(quiet=quiet)
    stderr.announce_loading(run)
    from trainer.workflows.generation.trained import (
        check_sample_output,
        draw_for,
        load_generator,
        open_generator,
        samples_csv,
        write_samples,
    )

    opened = open_generator(run)
    count = DEFAULT_COUNT if sampling.count is None else sampling.count
    drawn = draw_for(opened, count, sampling.seed or 0, sampling.class_name)
    if not is_stdout:
        check_sample_output(opened, out)
    values = load_generator(opened, device)(drawn.inputs)
    if is_stdout:
        console.result(samples_csv(opened, values, drawn).rstrip("\n"))
        return
    written = write_samples(opened, values, drawn, out)
    stderr.print(pluralize(written, "sample"))
    if json:
        console.json_result(
            {
                "run": str(opened.run.path),
                "checkpoint": opened.checkpoint,
                "samples": written,
                "seed": sampling.seed or 0,
                "output": str(out),
            }
        )
    else:
        console.result(str(out))
