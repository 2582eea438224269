"""Words that several verbs take: configs with their overrides, folders, permissions."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trainer.errors import Problem, UsageError, did_you_mean

if TYPE_CHECKING:
    from trainer.workflows.ray_connection import Cluster

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
JsonLines = Annotated[
    bool,
    typer.Option("--json", help="Print JSON on stdout: one object per line, for each result."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")]
Runs = Annotated[
    Path,
    typer.Option(
        "--runs", envvar="TRAINER_RUNS", help="The folder that run directories are kept in."
    ),
]
AllowCustom = Annotated[
    bool,
    typer.Option(
        "--allow-custom",
        envvar="TRAINER_ALLOW_CUSTOM",
        help="Let the config import functions of your own (custom: package.module:function).",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        max=256,
        show_default="as the sweep began; else the cores, or 1",
        help="Processes that train a sweep.",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        show_default="local",
        help="Where a sweep trains: local, in processes of this machine, or ray, on a cluster "
        "(needs the package ray).",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        show_default="a Ray that is started here",
        help="The Ray cluster: auto, HOST:6379 or ray://HOST:10001. All nodes must see the sweep's "
        "folder.",
    ),
]
ConfigArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG|KEY=VALUE|~KEY",
        help="Config files, and settings that override theirs: optimizer.learning_rate=3e-4; ~KEY "
        "removes one.",
        show_default=False,
    ),
]
DataSettings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="How the data file is read: data.csv.separator=';', data.csv.header=false.",
        show_default=False,
    ),
]
BestTrials = Annotated[
    int | None,
    typer.Option(
        "--best",
        min=1,
        show_default="5 of a sweep alone, 1 beside others",
        help="How many of its best trials are taken for a sweep.",
    ),
]
DEFAULT_RUNS = Path("runs")
DEFAULT_SWEEPS = Path("sweeps")
# Stated again rather than imported: the data room takes a third of a second to load.
SPLITS: tuple[Literal["train"], Literal["validation"], Literal["test"]] = (
    "train",
    "validation",
    "test",
)


def configs_and_overrides(words: list[str]) -> tuple[list[Path], list[str]]:
    """Config files and overrides among the words, each in its order.

    Raises:
        UsageError: There is no config.
    """
    overrides = [word for word in words if _is_override(word)]
    configs = [Path(word) for word in words if not _is_override(word)]
    if not configs:
        raise UsageError(
            Problem("trainer", "a config file", "only settings", "write the config before them")
        )
    return configs, overrides


def one_config(words: list[str], verb: str) -> tuple[Path, list[str]]:
    """As `configs_and_overrides`, for a verb that takes one config."""
    configs, overrides = configs_and_overrides(words)
    if len(configs) > 1:
        raise UsageError(
            Problem(
                verb,
                "one config file",
                f"{len(configs)}: {', '.join(map(str, configs))}",
                "a setting is written KEY=VALUE",
            )
        )
    return configs[0], overrides


def _is_override(word: str) -> bool:
    if word.startswith("~") and not word.startswith("~" + os.sep):
        return True
    try:
        if Path(word).is_file():
            return False
    except OSError:
        # Too long for a file's name, or in a folder that may not be looked into.
        pass
    if "=" in word:
        return True
    # A setting without its '=' is an override that went wrong rather than a missing file.
    section = re.match(r"(data|model|optimizer|fit|evaluate|runtime)[.:]", word)
    return section is not None and not word.lower().endswith((".yaml", ".yml"))


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
    """The cluster that the options name, not connected to yet; None for the processes of this machine.

    Raises:
        UsageError: There is no such engine, or an address without one that takes it.
    """
    if engine not in {None, "local", "ray"}:
        found, fix = f"'{engine}'", did_you_mean(str(engine), ["local", "ray"])
        raise UsageError(Problem("--engine", "local or ray", found, fix))
    if engine == "ray":
        from trainer.workflows.ray_connection import Cluster

        return Cluster(address)
    if address is not None:
        expected, fix = "none without --engine ray", f"add --engine ray, or leave {address} out"
        raise UsageError(Problem("--address", expected, f"'{address}'", fix))
    return None


def device_name(name: str) -> Literal["auto", "cpu", "gpu"]:
    """The device option, checked.

    Raises:
        UsageError: It is none of them.
    """
    match name:
        case "auto" | "cpu" | "gpu":
            return name
    raise UsageError(Problem("--device", "auto, cpu or gpu", f"'{name}'"))
