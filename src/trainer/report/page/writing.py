"""Pages written: of one run, of several, as HTML, as Markdown, as PNG files of the plots.

Owns: which sections a page has and in which order, where it is written. Does not own: the sections.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from trainer.errors import Problem, UsageError
from trainer.packages import install_command
from trainer.report.comparison import compare_runs
from trainer.report.page.classification import calibration, classes
from trainer.report.page.content import Page
from trainer.report.page.explanation import explanation
from trainer.report.page.facts import read_facts
from trainer.report.page.figures import can_draw, png_bytes
from trainer.report.page.html import page_html
from trainer.report.page.inputs import inputs
from trainer.report.page.metrics import scores, slices
from trainer.report.page.overview import data, lead_of, notices, title_of
from trainer.report.page.provenance import commands, config, environment
from trainer.report.page.regression import regression_section
from trainer.report.page.run_comparison import several_page
from trainer.report.page.sweep import sweep_page
from trainer.report.page.training import training
from trainer.report.sweeps.facts import read_sweep
from trainer.runs.directory import RunDirectory
from trainer.runs.files import storage_errors, write_atomically
from trainer.runs.sweeps import SweepDirectory

_SECTIONS = (
    notices,
    scores,
    classes,
    regression_section,
    calibration,
    training,
    slices,
    explanation,
    data,
    inputs,
    config,
    environment,
    commands,
)


def write_page(run: RunDirectory, now: datetime) -> Path:
    """Writes `report.html` of a run, from its files alone.

    Args:
        run: The run, in whatever state it is.
        now: With a time zone; tells whether a run that says it runs is dead.

    Returns:
        Where it was written.

    Raises:
        StorageError: It could not be written.
    """
    run.write_report(page_html(run_page(run, now)))
    return run.report


def run_page(run: RunDirectory, now: datetime) -> Page:
    """The page of a run; sections that have nothing in them are left out."""
    facts = read_facts(run, now)
    made = (make(facts) for make in _SECTIONS)
    return Page(title_of(facts), lead_of(facts), tuple(one for one in made if one.blocks))


def run_comparison_page(paths: Sequence[Path], now: datetime) -> Page:
    """The page of two runs or more, side by side.

    Raises:
        UsageError: One is named twice.
        RunError: A path leads to no run, or a run has no config that can be read.
    """
    comparison = compare_runs(paths, now)
    facts = [read_facts(RunDirectory(run.path), now) for run in comparison.runs]
    return several_page(comparison, facts)


def write_sweep_page(directory: SweepDirectory, now: datetime) -> Path:
    """Writes `report.html` of a sweep, from its files alone.

    Args:
        directory: The sweep, in whatever state it is.
        now: With a time zone.

    Returns:
        Where it was written.

    Raises:
        StorageError: It could not be written.
    """
    directory.write_report(page_html(sweep_page(read_sweep(directory), now)))
    return directory.report


def write_plots(page: Page, folder: Path) -> list[Path]:
    """Writes each plot as a PNG named after it.

    Raises:
        UsageError: matplotlib is not installed.
        StorageError: They could not be written.
    """
    if not can_draw():
        fix = install_command("plots")
        raise UsageError(
            Problem("--png", "matplotlib, to draw the plots", "it is not installed", fix)
        )
    with storage_errors(folder, "make this directory"):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for plot in page.plots():
        paths.append(folder / f"{plot.name}.png")
        write_atomically(paths[-1], png_bytes(plot))
    return paths
