"""`trainer serve`: answers requests for predictions over HTTP."""

from __future__ import annotations

import os
import stat
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.errors import Problem, UsageError
from trainer_cli import console
from trainer_cli.options import Json, Quiet

if TYPE_CHECKING:
    from trainer.workflows.serving.serve import Address

TOKEN_VARIABLE = "TRAINER_SERVE_TOKEN"
_MODULES = ("starlette", "uvicorn", "httptools", "uvloop", "orjson", "onnxruntime")
_EXPORT_MODULES = ("onnx",)
_MAX_TOKEN_BYTES = 4096


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run directories, or ONNX files of trainer export. The first is served at /predict, "
            "each at /models/NAME/predict.",
        ),
    ],
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0 for any that is free.")
    ] = 8000,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=256, help="The number of processes.")
    ] = 1,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="A file with the bearer token that requests need; or set the variable "
            f"{TOKEN_VARIABLE}.",
            show_default="no token",
        ),
    ] = None,
    reload: Annotated[
        bool,
        typer.Option("--reload", help="Serve newer runs as soon as they have finished."),
    ] = False,
    monitor: Annotated[
        bool,
        typer.Option(
            "--monitor",
            help="Count inputs and predictions, and compare them with the training rows: at /metrics, "
            "and with trainer show.",
        ),
    ] = False,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, max=4096, help="Largest request in MiB.")
    ] = 16,
    max_rows: Annotated[
        int, typer.Option("--max-rows", min=1, help="Most rows or samples of a request.")
    ] = 100_000,
    max_connections: Annotated[
        int,
        typer.Option("--max-connections", min=1, help="Most connections of a process at a time."),
    ] = 256,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0.1, max=3600, help="Seconds for sending and answering."),
    ] = 30.0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Serve trained runs over HTTP. Prints the address, and stops at SIGTERM or Ctrl-C.

    A generator (task: generate) answers with new samples.

    Example: trainer serve runs/breast-cancer/20261122-141530-9f3c --port 8000 --workers 2

    Example: curl -H 'Content-Type: application/json' -d '{"mean_radius": 14.1}' localhost:8000/predict

    Example: curl -H 'Content-Type: application/json' -d '{"count": 9, "seed": 1}' localhost:8000/predict
    """
    _check_packages(runs)
    token = _token(token_file)
    if token is None and not _is_loopback(host):
        console.warn(
            f"anybody who reaches {host}:{port} can use the server; --token-file FILE makes it ask "
            "for a token"
        )
    from trainer.serving.settings import Limits
    from trainer.workflows.serving.serve import ServeOptions, serve_models

    output = console.Console(quiet=quiet)

    def show(address: Address) -> None:
        if json:
            console.json_result(
                {"url": address.url, "models": list(address.models), "pid": os.getpid()}
            )
        else:
            console.result(address.url)
        output.print(f"serving {', '.join(address.models)}; Ctrl-C stops the server")

    stopped_by = serve_models(
        ServeOptions(
            paths=tuple(runs),
            host=host,
            port=port,
            workers=workers,
            limits=Limits(
                max_body_bytes=max_body * 2**20,
                max_rows=max_rows,
                max_connections=max_connections,
                timeout=timeout,
            ),
            token=token,
            reload=reload,
            monitor=monitor,
        ),
        show,
        console.warn,
    )
    import signal

    if stopped_by == signal.SIGINT:
        raise KeyboardInterrupt


def _check_packages(runs: list[Path]) -> None:
    """Check that the packages of the server are installed, before anything is imported.

    Raises:
        UsageError: Some are not.
    """
    from trainer.packages import install_command

    needed: dict[str, tuple[str, ...]] = {"serve": _MODULES}
    if any(path.suffix != ".onnx" for path in runs):
        needed["export"] = _EXPORT_MODULES
    problems = []
    for extra, modules in needed.items():
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            expected = f"the package{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
            problems.append(
                Problem("trainer serve", expected, "not installed", install_command(extra))
            )
    if problems:
        raise UsageError(problems)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(file: Path | None) -> str | None:
    """Read the token of a file, or of the environment.

    Raises:
        UsageError: The file cannot be read, or the token is empty or has blanks in it.
    """
    where = TOKEN_VARIABLE
    text = os.environ.get(TOKEN_VARIABLE)
    if file is not None:
        where = f"--token-file {file}"
        try:
            with file.open("rb") as opened:
                text = opened.read(_MAX_TOKEN_BYTES).decode()
                mode = os.fstat(opened.fileno()).st_mode
        except (OSError, UnicodeDecodeError) as error:
            found = (getattr(error, "strerror", None) or "bytes that are not text").lower()
            raise UsageError(Problem(where, "a file with a token", found)) from error
        if mode & (stat.S_IRGRP | stat.S_IROTH):
            console.warn(f"other users can read {file}: chmod 600 {file}")
    if text is None:
        return None
    token = text.strip()
    if not token or not token.isascii() or any(character.isspace() for character in token):
        found = "an empty one" if not token else "one with blanks or other characters"
        fix = "make one: python -c 'import secrets; print(secrets.token_urlsafe())'"
        raise UsageError(Problem(where, "a token of ASCII characters", found, fix))
    return token
