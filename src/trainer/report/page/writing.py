"""Write the pages of runs and sweeps, and their plots as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from trainer.errors import Problem, UsageError
from trainer.packages import install_command
from trainer.report.comparison import compare_runs
from trainer.report.page.classification import calibration_section, classification_section
from trainer.report.page.compression import compression_section
from trainer.report.page.content import Page
from trainer.report.page.explanation import explanation_section
from trainer.report.page.figures import can_draw, png_bytes
from trainer.report.page.html import page_html
from trainer.report.page.images import images_section
from trainer.report.page.inputs import preprocessing_section
from trainer.report.page.metrics import errors_section, metrics_section
from trainer.report.page.overview import data_section, page_lead, page_title, warnings_section
from trainer.report.page.provenance import commands_section, config_section, environment_section
from trainer.report.page.regression import regression_section
from trainer.report.page.run_comparison import comparison_page
from trainer.report.page.run_content import read_run_content
from trainer.report.page.samples import samples_section
from trainer.report.page.sweep import sweep_page
from trainer.report.page.training import training_section
from trainer.report.page.translations import translations_section
from trainer.report.sweeps.content import read_sweep
from trainer.runs.directory import RunDirectory
from trainer.runs.files import storage_errors, write_atomically
from trainer.runs.sweeps import SweepDirectory

_SECTIONS = (
    warnings_section,
    metrics_section,
    compression_section,
    classification_section,
    regression_section,
    translations_section,
    images_section,
    samples_section,
    calibration_section,
    training_section,
    errors_section,
    explanation_section,
    data_section,
    preprocessing_section,
    config_section,
    environment_section,
    commands_section,
)


def write_page(run: RunDirectory, now: datetime) -> Path:
    """Write `report.html` of a run from its files.

    Args:
        run: The run, in any state.
        now: Current time, with a time zone; used to detect runs marked as running whose process is gone.

    Returns:
        The path of the page.

    Raises:
        StorageError: The page cannot be written.
    """
    run.write_report(page_html(run_page(run, now)))
    return run.report


def run_page(run: RunDirectory, now: datetime) -> Page:
    """Make the page of a run, without empty sections."""
    content = read_run_content(run, now)
    sections = (make_section(content) for make_section in _SECTIONS)
    return Page(
        page_title(content),
        page_lead(content),
        tuple(section for section in sections if section.blocks),
    )


def run_comparison_page(paths: Sequence[Path], now: datetime) -> Page:
    """Make the page that compares two or more runs.

    Raises:
        UsageError: A run is given twice.
        RunError: A path without a run, or a run without a readable config.
    """
    comparison = compare_runs(paths, now)
    content = [read_run_content(RunDirectory(run.path), now) for run in comparison.runs]
    return comparison_page(comparison, content)


def write_sweep_page(directory: SweepDirectory, now: datetime) -> Path:
    """Write `report.html` of a sweep from its files.

    Args:
        directory: The sweep, in any state.
        now: The current time, with a time zone.

    Returns:
        The path of the page.

    Raises:
        StorageError: The page cannot be written.
    """
    directory.write_report(page_html(sweep_page(read_sweep(directory), now)))
    return directory.report


def write_plots(page: Page, folder: Path) -> list[Path]:
    """Write each plot as a PNG file with its name.

    Raises:
        UsageError: matplotlib is not installed.
        StorageError: A file cannot be written.
    """
    if not can_draw():
        fix = install_command("plots")
        raise UsageError(
            Problem("--png", "the package matplotlib to be installed", "that it is not", fix)
        )
    with storage_errors(folder, "make this directory"):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for plot in page.plots():
        paths.append(folder / f"{plot.name}.png")
        write_atomically(paths[-1], png_bytes(plot))
    return paths
