"""Options and arguments shared by several commands, and functions that parse them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trainer.errors import Problem, UsageError, did_you_mean

if TYPE_CHECKING:
    from trainer.workers.ray_connection import Cluster

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
JsonLines = Annotated[
    bool,
    typer.Option("--json", help="Print JSON on stdout: one object per line and result."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")]
Runs = Annotated[
    Path,
    typer.Option("--runs", envvar="TRAINER_RUNS", help="The folder for run directories."),
]
Sweeps = Annotated[
    Path,
    typer.Option("--sweeps", envvar="TRAINER_SWEEPS", help="The folder for sweep directories."),
]
AllowCustom = Annotated[
    bool,
    typer.Option(
        "--allow-custom",
        envvar="TRAINER_ALLOW_CUSTOM",
        help="Allow the config to import user-defined functions (custom: package.module:function).",
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        help="Time limit of the command: training ends in time for evaluation and report, with the best "
        "epoch so far. The run can be resumed.",
        show_default="no limit",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        max=256,
        show_default="as when the sweep was started; for a new one, chosen from cores and memory",
        help="Number of processes that train a sweep.",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        show_default="local",
        help="Where to train a sweep: local, in processes on this machine, or ray, on a Ray cluster "
        "(needs the package ray).",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        show_default="a new local cluster",
        help="The Ray cluster: auto, HOST:6379 or ray://HOST:10001. The sweep's folder must be "
        "accessible from all nodes.",
    ),
]
ConfigArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG|KEY=VALUE|~KEY",
        help="Config files, and settings that override theirs: optimizer.learning_rate=3e-4; ~KEY "
        "removes a setting.",
        show_default=False,
    ),
]
DataSettings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings for reading the data file: data.csv.separator=';', data.csv.header=false.",
        show_default=False,
    ),
]
BestTrials = Annotated[
    int | None,
    typer.Option(
        "--best",
        min=1,
        show_default="5 for a single sweep, else 1",
        help="Number of best trials to compare for each sweep.",
    ),
]
DEFAULT_RUNS = Path("runs")
DEFAULT_SWEEPS = Path("sweeps")
# Repeated here rather than imported: the data package takes a third of a second to load.
SPLITS: tuple[Literal["train"], Literal["validation"], Literal["test"]] = (
    "train",
    "validation",
    "test",
)


def configs_and_overrides(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """Separate config files from overrides, keeping the order of each.

    Raises:
        UsageError: There is no config.
    """
    overrides = [argument for argument in arguments if _is_override(argument)]
    configs = [Path(argument) for argument in arguments if not _is_override(argument)]
    if not configs:
        raise UsageError(
            Problem("trainer", "a config file", "only settings", "add the config before them")
        )
    return configs, overrides


def one_config(arguments: list[str], command: str) -> tuple[Path, list[str]]:
    """Separate the config file from overrides, for a command that takes one config."""
    configs, overrides = configs_and_overrides(arguments)
    if len(configs) > 1:
        raise UsageError(
            Problem(
                command,
                "one config file",
                f"{len(configs)}: {', '.join(map(str, configs))}",
                "settings are written KEY=VALUE",
            )
        )
    return configs[0], overrides


def _is_override(argument: str) -> bool:
    if argument.startswith("~") and not argument.startswith("~" + os.sep):
        return True
    try:
        if Path(argument).is_file():
            return False
    except OSError:
        # Too long for a file name, or in a folder without read permission.
        pass
    if "=" in argument:
        return True
    # A setting without '=' is a mistyped override rather than a missing file.
    section = re.match(r"(data|model|optimizer|fit|compress|evaluate|runtime)[.:]", argument)
    return section is not None and not argument.lower().endswith((".yaml", ".yml"))


RunOrSweep = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="A run directory, a checkpoint in one, or a sweep's directory."
    ),
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory, or a checkpoint in one.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or gpu.")]


def cluster_of(engine: str | None, address: str | None) -> Cluster | None:
    """Return the cluster, not yet connected; None for processes on this machine.

    Raises:
        UsageError: There is no such engine, or an address without --engine ray.
    """
    if engine not in {None, "local", "ray"}:
        found, fix = f"'{engine}'", did_you_mean(str(engine), ["local", "ray"])
        raise UsageError(Problem("--engine", "local or ray", found, fix))
    if engine == "ray":
        from trainer.workers.ray_connection import Cluster

        return Cluster(address)
    if address is not None:
        expected, fix = "none without --engine ray", "add --engine ray, or remove --address"
        raise UsageError(Problem("--address", expected, f"'{address}'", fix))
    return None


def runs_folder_problems(runs: Path) -> list[Problem]:
    """Return the problem with --runs, if it is a file."""
    if not runs.exists() or runs.is_dir():
        return []
    found = f"the file {runs}"
    return [Problem("--runs", "a folder for run directories", found, "use a folder")]


def max_seconds_problems(seconds: float | None) -> list[Problem]:
    """Return the problem with --max-seconds, if there is one."""
    if seconds is None or 0 < seconds < float("inf"):
        return []
    expected = "a number of seconds above 0"
    return [Problem("--max-seconds", expected, f"{seconds:g}", "for example, --max-seconds 60")]


def device_name(name: str) -> Literal["auto", "cpu", "gpu"]:
    """Validate the --device option.

    Raises:
        UsageError: It is not auto, cpu or gpu.
    """
    match name:
        case "auto" | "cpu" | "gpu":
            return name
    raise UsageError(Problem("--device", "auto, cpu or gpu", f"'{name}'"))
