"""The `trainer` command: registers the subcommands and handles all errors.

Only this module turns errors into messages and exit codes: 0 success, 1 a bug in trainer, 2 invalid
input, 3 training failed or a result could not be written, 75 stopped by SIGTERM, 130 by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from trainer.errors import Problem, TrainerError, UsageError, command_text, did_you_mean
from trainer_cli import (
    archive,
    best,
    check,
    compare,
    compress,
    console,
    decoding,
    doctor,
    evaluate,
    explain,
    export,
    fit,
    init,
    listing,
    predict,
    report,
    restore,
    resume,
    schema,
    serve,
    show,
    sweep,
)


class _Commands(TyperGroup):
    """The commands; reports Ctrl-C, which Typer turns into an exit without a message."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            return _report_interrupt()


_COMMANDS: dict[str, Callable[..., Any]] = {
    "init": init.command,
    "check": check.command,
    "fit": fit.command,
    "resume": resume.command,
    "sweep": sweep.command,
    "best": best.command,
    "eval": evaluate.command,
    "predict": predict.command,
    "serve": serve.command,
    "explain": explain.command,
    "compress": compress.command,
    "export": export.command,
    "ls": listing.command,
    "show": show.command,
    "compare": compare.command,
    "report": report.command,
    "archive": archive.command,
    "restore": restore.command,
    "schema": schema.command,
    "doctor": doctor.command,
}


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        from trainer.packages import DISTRIBUTION

        console.result(f"trainer {version(DISTRIBUTION)}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show Python's traceback for every error.")
    ] = False,
) -> None:
    """Turns a YAML file into a trained, evaluated, reproducible Keras network."""


@cache
def _parser(name: str | None) -> Callable[..., Any]:
    """Return what parses and runs a command line, with all commands or with one of them.

    Typer inspects the parameters of each command that it has, which takes 1.5 milliseconds per command.
    """
    app = typer.Typer(
        name="trainer",
        cls=_Commands,
        help="Turns a YAML file into a trained, evaluated, reproducible Keras network.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for verb in _COMMANDS if name is None else (name,):
        app.command(verb)(_COMMANDS[verb])
    return get_command(app)


def main() -> None:
    """Run the command line and exit."""
    # Imports create many objects and no garbage: collecting took a fifth of `trainer check`.
    gc.set_threshold(200_000)
    # Sums in findings must have the same last digits on any number of cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _open_closed_descriptors()
    code = run(sys.argv[1:])
    # All work is done; during Python's shutdown, a second Ctrl-C would only print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "tensorflow" in sys.modules:
        # Everything is written; an orderly shutdown of TensorFlow would take another second.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, AttributeError):  # None where it was closed
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _open_closed_descriptors() -> None:
    """Open closed standard streams: after `>&-`, the next opened file would become stdout."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        quiet = not {"-q", "--quiet"}.isdisjoint(arguments)
        with console.logged_warnings(), decoding.shown(quiet=quiet):
            parser = _parser(next((name for name in arguments[:1] if name in _COMMANDS), None))
            code = parser(args=arguments or ["--help"], prog_name="trainer", standalone_mode=False)
    except typer.Exit as ended:
        return ended.exit_code
    except TyperException as error:
        return _report_error(UsageError(_usage_problem(error, arguments)), arguments)
    except TrainerError as error:
        return _report_error(error, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _report_interrupt()
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.filename is None and error.errno == errno.ENOSPC:
            return _report_error(
                console.stdout_error(error), arguments
            )  # --help, which typer prints
        if error.filename is None:
            return _report_bug(error, arguments)
        from trainer.runs.files import storage_problem

        path = Path(os.fsdecode(error.filename))
        return _report_error(UsageError(storage_problem(path, "use this path", error)), arguments)
    except Exception as bug:
        return _report_bug(bug, arguments)
    return code if isinstance(code, int) else 0


def _report_interrupt() -> int:
    console.error("stopped by Ctrl-C")
    return 130


def _report_error(error: TrainerError, arguments: list[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exception(error)
    return console.print_error(error, json="--json" in arguments)


def _report_bug(bug: Exception, arguments: list[str]) -> int:
    traceback.print_exception(bug)
    console.error(
        f"this is a bug in trainer, not in your input ({type(bug).__name__}); "
        "please report the traceback above and the command"
    )
    if "--json" in arguments:
        console.json_result({"error": {"kind": "bug", "problems": [], "message": str(bug)}})
    return 1


def _usage_problem(error: TyperException, arguments: list[str]) -> Problem:
    """Convert a Typer error; for a setting written as an option, suggest KEY=VALUE."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "trainer"
    see_help = f"see {command} --help"
    option = getattr(error, "option_name", None)
    if option is not None and "No such option" not in error.message:
        takes_none = "does not take a value" in error.message
        expected, found = ("no value", "one") if takes_none else ("a value", "none")
        return Problem(f"{command} {option}", expected, found, see_help)
    if option is not None:
        fix = _meant_option(option, context, arguments) or see_help
        return Problem(command, "one of its options", f"'{option}'", fix)
    if "No such command" in error.message:
        name = error.message.split("'")[1]
        fix = did_you_mean(name, command_names(), see_help)
        if name in _SYNONYMS:
            fix = f"did you mean '{_SYNONYMS[name]}'?"
        elif Path(name).is_file():
            fix = f"for example: {command_text('fit', name)}"
        return Problem("trainer", f"a command ({', '.join(command_names())})", f"'{name}'", fix)
    parameter = getattr(error, "param", None)
    if parameter is not None:
        name = parameter.opts[0]
        if not name.startswith("-"):
            name = (parameter.metavar or name).split("|")[0].strip("[].")
        invalid = _invalid_value(error.__cause__)
        if invalid is not None:
            return Problem(f"{command} {name}", *invalid, see_help)
        meaning = (parameter.help or "a value").rstrip(".")
        found = error.message or "nothing"
        return Problem(f"{command} {name}", meaning[0].lower() + meaning[1:], found, see_help)
    return Problem(command, "valid arguments", error.format_message(), see_help)


def _invalid_value(cause: BaseException | None) -> tuple[str, str] | None:
    """Return the expected and the given value of Typer's checks of numbers and choices; None for other
    errors.
    """
    from pydantic import ValidationError

    if not isinstance(cause, ValidationError):
        return None
    match cause.errors()[0]:
        case {"type": "greater_than_equal", "ctx": {"ge": least}}:
            expected = f"a number of at least {least}"
        case {"type": "less_than_equal", "ctx": {"le": most}}:
            expected = f"a number of at most {most}"
        case {"type": "value_error", "msg": str(text)} if " is not one of " in text:
            names = text.rpartition(" is not one of ")[2].rstrip(".").replace("'", "")
            expected = " or ".join(names.rsplit(", ", 1))
        case {"type": str(kind)}:
            expected = "an integer" if kind.startswith("int") else "a number"
    return expected, f"'{cause.errors()[0]['input']}'"


_SYNONYMS = {
    **dict.fromkeys(("train", "run", "start", "training"), "fit"),
    **dict.fromkeys(("evaluate", "test", "score"), "eval"),
    **dict.fromkeys(("validate", "plan", "summary"), "check"),
    **dict.fromkeys(("list", "runs", "dir"), "ls"),
    **dict.fromkeys(("diff", "comparison", "versus", "vs"), "compare"),
    **dict.fromkeys(("new", "create", "template"), "init"),
    "infer": "predict",
    **dict.fromkeys(("convert", "onnx", "deploy"), "export"),
    **dict.fromkeys(("server", "api", "http"), "serve"),
    **dict.fromkeys(("prune", "quantize", "quantise", "shrink"), "compress"),
    **dict.fromkeys(("importance", "shap", "interpret"), "explain"),
    **dict.fromkeys(("continue", "restart", "extend"), "resume"),
    **dict.fromkeys(("backup", "pack", "tar", "zip"), "archive"),
    **dict.fromkeys(("unpack", "unarchive", "extract"), "restore"),
    "info": "doctor",
    "help": "--help",
    "version": "--version",
}


def _meant_option(option: str, context: Any, arguments: list[str]) -> str:
    """Suggest what an unknown option was meant as: an option of the command, or a setting."""
    known = {name.lstrip("-"): name for name in _options_of(context) if name.startswith("--")}
    suggestion = did_you_mean(option.lstrip("-"), list(known))
    if suggestion:
        name = suggestion.removeprefix("did you mean ").strip("'?")
        return f"did you mean '{known[name]}'?"
    if not any(parameter.name == "arguments" for parameter in context.command.params):
        return ""
    from trainer.config.overrides import suggest_override

    # For an argument with one dash, such as -lr=1, typer reports the first letter only.
    exact = [argument for argument in arguments if argument.split("=")[0] == option]
    similar = exact or [argument for argument in arguments if argument.startswith(option)]
    given = next(iter(similar), option)
    if len(given) <= 2:
        return ""
    rest = arguments[arguments.index(given) + 1 :] if given in arguments else []
    value = rest[0] if rest and not rest[0].startswith("-") else None
    override = suggest_override(given, value)
    return f"settings take no dashes: write {override}" if override else ""


def _options_of(context: Any) -> list[str]:
    return (
        [name for parameter in context.command.params for name in parameter.opts] if context else []
    )


def command_names() -> list[str]:
    """Return the names of all commands, in the order of the help."""
    return list(_COMMANDS)
