"""The `trainer` command: the table of verbs and the error boundary.

Every error becomes words and an exit code here and nowhere else: 0 done, 2 the user's input is wrong,
3 training failed, 75 stopped by SIGTERM, 130 stopped by Ctrl-C, 1 a bug of ours.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from trainer.errors import Problem, TrainerError, UsageError, command_text, did_you_mean
from trainer_cli import (
    best,
    check,
    compare,
    console,
    doctor,
    evaluate,
    explain,
    fit,
    init,
    listing,
    predict,
    report,
    resume,
    schema,
    show,
    sweep,
)

app = typer.Typer(
    name="trainer",
    help="Turns a YAML file into a trained, evaluated, reproducible Keras network.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from trainer.packages import DISTRIBUTION

        console.result(f"trainer {version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show Python's traceback of every error.")
    ] = False,
) -> None:
    """Turns a YAML file into a trained, evaluated, reproducible Keras network."""


for _verb, _function in (
    ("init", init.command),
    ("check", check.command),
    ("fit", fit.command),
    ("resume", resume.command),
    ("sweep", sweep.command),
    ("best", best.command),
    ("eval", evaluate.command),
    ("predict", predict.command),
    ("explain", explain.command),
    ("ls", listing.command),
    ("show", show.command),
    ("compare", compare.command),
    ("report", report.command),
    ("schema", schema.command),
    ("doctor", doctor.command),
):
    app.command(_verb)(_function)


def main() -> None:
    """Run the command line and exit."""
    # Imports make many objects and no garbage: looking for it took a fifth of `trainer check`.
    gc.set_threshold(200_000)
    # Sums of findings are to have the same last digits on any number of cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _open_closed_descriptors()
    code = run(sys.argv[1:])
    # Nothing is left that a second Ctrl-C could stop; Python's own end would tell a traceback of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "tensorflow" in sys.modules:
        # Everything is written; taking TensorFlow apart piece by piece would cost another second.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, AttributeError):  # None where it was closed
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _open_closed_descriptors() -> None:
    """Started with `>&-`, the next file that is opened would take stdout's place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    try:
        with console.logged_warnings():
            code = app(args=arguments or ["--help"], prog_name="trainer", standalone_mode=False)
    except typer.Exit as ended:
        return ended.exit_code
    except TyperException as wrong:
        return _report_error(UsageError(_usage_problem(wrong, arguments)), arguments)
    except TrainerError as wrong:
        return _report_error(wrong, arguments)
    except (KeyboardInterrupt, typer.Abort):
        console.error("stopped by Ctrl-C")
        return 130
    except BrokenPipeError:
        return 0
    except OSError as refused:
        if refused.filename is None and refused.errno == errno.ENOSPC:
            return _report_error(
                console.stdout_error(refused), arguments
            )  # of --help, which typer prints
        if refused.filename is None:
            return _report_bug(refused, arguments)
        from trainer.runs.files import storage_problem

        place = Path(os.fsdecode(refused.filename))
        return _report_error(
            UsageError(storage_problem(place, "use this path", refused)), arguments
        )
    except Exception as bug:
        return _report_bug(bug, arguments)
    return code if isinstance(code, int) else 0


def _report_error(wrong: TrainerError, arguments: list[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exception(wrong)
    return console.print_error(wrong, json="--json" in arguments)


def _report_bug(bug: Exception, arguments: list[str]) -> int:
    traceback.print_exception(bug)
    console.error(
        f"this is a bug in trainer, not in your input ({type(bug).__name__}); "
        "please report the lines above and the command"
    )
    if "--json" in arguments:
        console.json_result({"error": {"kind": "bug", "problems": [], "message": str(bug)}})
    return 1


def _usage_problem(wrong: TyperException, arguments: list[str]) -> Problem:
    """Typer's complaint in our form; a setting written as an option is answered with the right form."""
    context = getattr(wrong, "ctx", None)
    command = context.command_path if context else "trainer"
    see_help = f"see {command} --help"
    option = getattr(wrong, "option_name", None)
    if option is not None and "No such option" not in wrong.message:
        takes_none = "does not take a value" in wrong.message
        expected, found = ("no value", "one") if takes_none else ("a value", "none")
        return Problem(f"{command} {option}", expected, found, see_help)
    if option is not None:
        fix = _meant_option(option, context, arguments) or see_help
        return Problem(command, "one of its options", f"'{option}'", fix)
    if "No such command" in wrong.message:
        verb = wrong.message.split("'")[1]
        fix = did_you_mean(verb, verbs(), see_help)
        if verb in _OTHER_VERBS:
            fix = f"did you mean '{_OTHER_VERBS[verb]}'?"
        elif Path(verb).is_file():
            fix = f"write for example {command_text('fit', verb)}"
        return Problem("trainer", f"a verb ({', '.join(verbs())})", f"'{verb}'", fix)
    parameter = getattr(wrong, "param", None)
    if parameter is not None:
        name = parameter.opts[0]
        if not name.startswith("-"):
            name = (parameter.metavar or name).split("|")[0].strip("[].")
        refused = _refused_value(wrong.__cause__)
        if refused is not None:
            return Problem(f"{command} {name}", *refused, see_help)
        meaning = (parameter.help or "a value").rstrip(".")
        found = wrong.message or "nothing"
        return Problem(f"{command} {name}", meaning[0].lower() + meaning[1:], found, see_help)
    return Problem(command, "a command line as its help says", wrong.format_message(), see_help)


def _refused_value(cause: BaseException | None) -> tuple[str, str] | None:
    """What an option takes and what it was given, of typer's own check; None of another error."""
    from pydantic import ValidationError

    if not isinstance(cause, ValidationError):
        return None
    match cause.errors()[0]:
        case {"type": "greater_than_equal", "ctx": {"ge": least}}:
            expected = f"a number from {least}"
        case {"type": "less_than_equal", "ctx": {"le": most}}:
            expected = f"a number up to {most}"
        case {"type": str(kind)}:
            expected = "a whole number" if kind.startswith("int") else "a number"
    return expected, f"'{cause.errors()[0]['input']}'"


_OTHER_VERBS = {
    **dict.fromkeys(("train", "run", "start", "training"), "fit"),
    **dict.fromkeys(("evaluate", "test", "score"), "eval"),
    **dict.fromkeys(("validate", "plan", "summary"), "check"),
    **dict.fromkeys(("list", "runs", "dir"), "ls"),
    **dict.fromkeys(("diff", "comparison", "versus", "vs"), "compare"),
    **dict.fromkeys(("new", "create", "template"), "init"),
    "infer": "predict",
    **dict.fromkeys(("importance", "shap", "interpret"), "explain"),
    **dict.fromkeys(("continue", "restart", "extend"), "resume"),
    "info": "doctor",
    "help": "--help",
    "version": "--version",
}


def _meant_option(option: str, context: Any, arguments: list[str]) -> str:
    """What an unknown option was meant as: one of the verb's, or a setting of the config."""
    known = {name.lstrip("-"): name for name in _options_of(context) if name.startswith("--")}
    near = did_you_mean(option.lstrip("-"), list(known))
    if near:
        return f"did you mean '{known[near.removeprefix('did you mean ').strip(chr(39) + '?')]}'?"
    if not any(parameter.name == "words" for parameter in context.command.params):
        return ""
    from trainer.config.overrides import suggest_override

    # Of a word with one dash, such as -lr=1, typer names the first letter only.
    whole = [word for word in arguments if word.split("=")[0] == option]
    given = next(iter(whole or [word for word in arguments if word.startswith(option)]), option)
    if len(given) <= 2:
        return ""
    rest = arguments[arguments.index(given) + 1 :] if given in arguments else []
    value = rest[0] if rest and not rest[0].startswith("-") else None
    right = suggest_override(given, value)
    return f"settings have no dashes: write {right}" if right else ""


def _options_of(context: Any) -> list[str]:
    return (
        [name for parameter in context.command.params for name in parameter.opts] if context else []
    )


def verbs() -> list[str]:
    """All verbs, in the order of the help."""
    return [command.name for command in app.registered_commands if command.name]
