"""`trainer report`: writes the report of a run, of several runs side by side, or of a sweep."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.errors import InputError, Problem, UsageError, did_you_mean
from trainer_cli import console
from trainer_cli.options import Json

if TYPE_CHECKING:
    from trainer.report.page.content import Page

_FORMATS = ("html", "md")
_DEFAULT_NAME = Path("report.html")


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Run directories, checkpoints in them, or sweeps."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The file to write; - for stdout.",
            show_default="RUN/report.html; for several runs report.html; for md stdout",
        ),
    ] = None,
    output_format: Annotated[
        str, typer.Option("--format", help="html, or md: GitHub Markdown for a pull request.")
    ] = "html",
    png: Annotated[
        Path | None,
        typer.Option("--png", help="Write only the plots, as PNG files in this folder."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the report of a run, of several runs or of a sweep.

    The report is a single HTML file that works offline, with metrics, plots, errors, feature importance,
    preprocessing and commands. Several runs are compared side by side; a sweep among them is represented
    by its best trial. The report of one sweep shows its best trials, the objective against each setting,
    and the importance of the settings.

    Example: trainer report runs/breast-cancer/20261122-141530-9f3c
    """
    if output_format not in _FORMATS:
        fix = did_you_mean(output_format, _FORMATS)
        raise UsageError(Problem("--format", "html or md", f"'{output_format}'", fix))
    to_stdout = str(out) == "-" or (out is None and output_format == "md")
    if to_stdout and json and png is None:
        fix = "remove --json, or choose a file with --out"
        raise UsageError(Problem("trainer report", "one result on stdout", "two", fix))
    path = None if to_stdout or png is not None else _output_path(runs, out)
    from trainer.report.page.writing import write_plots

    page = _page(runs)
    if png is not None:
        plots = write_plots(page, png)
        if json:
            console.json_result({"plots": [str(path) for path in plots]})
        else:
            console.result(str(png))
        return
    text = _text(page, output_format)
    if path is None:
        console.result(text.rstrip("\n"))
        return
    from trainer.runs.files import write_atomically

    write_atomically(path, text.encode("utf-8"))
    if json:
        console.json_result({"report": str(path)})
    else:
        console.result(str(path))


def _page(runs: list[Path]) -> Page:
    from trainer.report.page.writing import run_comparison_page, run_page
    from trainer.report.sweeps.best_trials import with_best_trials
    from trainer.runs.opening import open_run
    from trainer.runs.sweeps import sweep_at
    from trainer.workflows.reporting.findings import write_missing_findings

    sweep = sweep_at(runs[0]) if len(runs) == 1 else None
    if sweep is not None:
        from trainer.report.page.sweep import sweep_page
        from trainer.report.sweeps.content import read_sweep

        return sweep_page(read_sweep(sweep), datetime.now(UTC))
    runs = with_best_trials(runs)
    directories = [open_run(path).run for path in runs]
    for run in directories:
        try:
            write_missing_findings(run.path)
        except InputError as error:
            # The rest of the report does not need the data.
            console.warn(
                f"the report has no confidence intervals, baselines or slices: {error.problems[0]}"
            )
    now = datetime.now(UTC)
    return (
        run_page(directories[0], now) if len(directories) == 1 else run_comparison_page(runs, now)
    )


def _text(page: Page, output_format: str) -> str:
    if output_format == "md":
        from trainer.report.page.markdown import page_markdown

        return page_markdown(page)
    from trainer.report.page.html import page_html

    return page_html(page)


def _output_path(runs: list[Path], out: Path | None) -> Path:
    """Return the path to write the report to, checked before doing any work."""
    from trainer.runs.files import parent_problem

    if out is None:
        if len(runs) == 1:
            from trainer.runs.opening import open_run
            from trainer.runs.sweeps import sweep_at

            sweep = sweep_at(runs[0])
            return open_run(runs[0]).run.report if sweep is None else sweep.report
        if _DEFAULT_NAME.exists():
            fix = f"choose another file with --out, or replace it with --out {_DEFAULT_NAME}"
            raise UsageError(
                Problem("trainer report", f"no {_DEFAULT_NAME} in this folder", "one", fix)
            )
        return _DEFAULT_NAME
    if out.is_dir():
        raise UsageError(Problem("--out", "a file", f"the directory {out}", "add a file name"))
    if (missing := parent_problem("--out", out)) is not None:
        raise UsageError(missing)
    return out
