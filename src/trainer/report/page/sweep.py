"""The page of a sweep: the best trials, the objective by setting, failures, commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from trainer.config.yaml_reader import MAX_BYTES
from trainer.errors import RunError, TrainerError, command_text, pluralize
from trainer.report.comparison import compare_runs
from trainer.report.decisions import read_decision_summary
from trainer.report.page.content import Block, CodeBlock, Page, Paragraph, section, table_block
from trainer.report.page.run_comparison import side_by_side
from trainer.report.page.run_content import read_run_content
from trainer.report.page.sweep_plots import (
    Trials,
    curves_plot,
    importance_plot,
    order_plot,
    parallel_plot,
    ranked_trials,
    setting_plot,
)
from trainer.report.sweeps.axes import MIN_TRIALS, Axis, make_axes, setting_importance
from trainer.report.sweeps.content import SweepContent
from trainer.report.sweeps.tables import ended_text, failures_table, space_table, status_text
from trainer.report.sweeps.text import listed_text, short_names
from trainer.report.text import cell, duration, number
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_bytes
from trainer.runs.listing import summarize
from trainer.runs.log import read_log
from trainer.runs.process import this_process
from trainer.sweep.forest import InputImportance
from trainer.sweep.leaderboard import TrialRow

_BEST = 10
_MAX_COMPARED = 5
_MAX_CURVES = 6
_MAX_TRIALS = 200
_MAX_PLOTS = 24
_MAX_AXES = 12
_MISSING = "–"


def sweep_page(sweep: SweepContent, now: datetime) -> Page:
    """Make the page of a sweep in any state, without empty sections.

    Args:
        sweep: The sweep.
        now: The current time, with a time zone; used to detect trials whose process is gone.
    """
    trials = ranked_trials(sweep.leaderboard)
    axes = make_axes(sweep)
    importance = setting_importance(axes, trials.rows, higher=trials.is_higher_better)
    order = range(len(axes))
    if importance is not None:
        order = sorted(order, key=lambda index: -importance.share[index])  # type: ignore[assignment]
    sections = (
        section("notices", "Warnings", _notices(sweep)),
        section("best", "Best trials", _best(sweep, trials)),
        section("settings", "Settings", _settings(sweep, [axes[index] for index in order], trials)),
        section("importance", "Importance of the settings", _importance(axes, trials, importance)),
        section("curves", "Learning curves", _curves(sweep)),
        section("compared", "Comparison of the best trials", _compared(sweep, now)),
        section("failed", "Failed and eliminated trials", _failed(sweep)),
        section("space", "Search", _search(sweep)),
        section("all", "All trials", _all_trials(sweep)),
        section("commands", "Commands", _commands(sweep, now)),
    )
    title = f"{sweep.name} – {sweep.directory.path.absolute().name}"
    return Page(title, tuple(_lead(sweep, now)), tuple(part for part in sections if part.blocks))


def _lead(sweep: SweepContent, now: datetime) -> Iterator[str]:
    settings = pluralize(sum(len(dimension.keys) for dimension in sweep.dimensions), "setting")
    name = {"tpe": "TPE"}.get(sweep.search, sweep.search.capitalize())
    search = f"{name} search over {settings}" if name else "A search"
    took = f" in {duration(sweep.elapsed_seconds)}" if sweep.elapsed_seconds else ""
    state = "" if sweep.status == "finished" else f" The sweep is {status_text(sweep)}."
    yield f"{search}: {ended_text(sweep)}{took}.{state}"
    best = sweep.leaderboard.best
    if best is None or best.ended is None:
        if sweep.status in ("finished", "damaged") or not sweep.rows:
            yield "There are no ranked trials."
        return
    epoch = "" if best.ended.best_epoch is None else f" at epoch {best.ended.best_epoch:,}"
    yield (
        f"The best is trial {best.trial.number}, with {sweep.leaderboard.objective} "
        f"{number(best.ended.objective)}{epoch}: {sweep.labels.settings(best.trial.settings)}."
    )
    run = sweep.run_of(best)
    if run is None:
        return
    metrics = summarize(run, now, this_process()).metrics
    if metrics.get("test"):
        labels = read_decision_summary(run).labels
        shown = ", ".join(
            f"{labels.display_name(name)} {number(value)}"
            for name, value in metrics["test"].items()
        )
        yield f"Its test metrics are {shown}."


def _notices(sweep: SweepContent) -> Iterator[Block]:
    for problem in sweep.problems:
        yield Paragraph(f"Damaged file: {problem}", "warning")
    failed = sweep.counts.get("failed", 0)
    if failed:
        yield Paragraph(f"{pluralize(failed, 'trial')} failed.", "warning")
    if sweep.status in ("stopped", "dead"):
        resume = command_text("resume", sweep.directory.path)
        yield Paragraph(f"The sweep is not finished; resume it with: {resume}", "warning")


def _best(sweep: SweepContent, trials: Trials) -> Iterator[Block]:
    if not trials.rows:
        return
    shown = [row for row in trials.rows[:_BEST] if row.ended is not None]
    yield table_block(
        f"{len(shown)} best trials by {trials.name}"
        if len(shown) > 1
        else f"Best trial by {trials.name}",
        _headers(sweep),
        [_cells(sweep, row) for row in shown],
        right=range(4),
        marked=(0,) if sweep.leaderboard.best is not None else (),
    )
    more = listed_text(len(shown), len(sweep.rows), sweep.directory.path)
    if more:
        yield Paragraph(more)
    yield table_block("Numbered values", ("setting", "label", "value"), sweep.labels.legend())
    if len(trials.rows) > 1:
        yield order_plot(trials)


def _headers(sweep: SweepContent) -> tuple[str, ...]:
    objective = sweep.leaderboard.objective or "objective"
    keys = [key for dimension in sweep.dimensions for key in dimension.keys]
    return ("trial", objective, "best epoch", "epochs", "status", *short_names(keys).values())


def _cells(sweep: SweepContent, row: TrialRow) -> tuple[str, ...]:
    ended = row.ended
    keys = [key for dimension in sweep.dimensions for key in dimension.keys]
    settings = row.trial.settings
    return (
        number(row.trial.number),
        _MISSING if ended is None else number(ended.objective),
        _MISSING if ended is None or ended.best_epoch is None else number(ended.best_epoch),
        _MISSING if ended is None else number(ended.epochs),
        "unfinished" if ended is None else ended.status,
        *(sweep.labels.value(key, settings[key]) if key in settings else _MISSING for key in keys),
    )


def _settings(sweep: SweepContent, axes: list[Axis], trials: Trials) -> Iterator[Block]:
    if len(trials.rows) < 2 or not axes:
        return
    if trials.clipped:
        yield Paragraph(
            f"{pluralize(trials.clipped, 'trial')} with a much worse {trials.name} "
            f"{'is' if trials.clipped == 1 else 'are'} clipped to the edge of the axis."
        )
    if sweep.counts.get("eliminated"):
        yield Paragraph("Gray points are eliminated trials, which were trained for fewer epochs.")
    if len(axes) > _MAX_AXES:
        yield Paragraph(f"Parallel coordinates show {_MAX_AXES} of {len(axes)} settings.")
    yield parallel_plot(axes[:_MAX_AXES], trials)
    if len(axes) > _MAX_PLOTS:
        yield Paragraph(f"Plots are shown for {_MAX_PLOTS} of {len(axes)} settings.")
    for index, axis in enumerate(axes[:_MAX_PLOTS]):
        yield setting_plot(index, axis, trials)


def _importance(
    axes: tuple[Axis, ...], trials: Trials, importance: InputImportance | None
) -> Iterator[Block]:
    if not axes or not trials.rows:
        return
    if importance is None:
        needed = max(MIN_TRIALS, 3 * len(axes))
        if len(trials.rows) < needed:
            yield Paragraph(
                f"Too few trials ({len(trials.rows)}): {needed} are needed to estimate the importance "
                f"of {pluralize(len(axes), 'setting')}."
            )
        else:
            yield Paragraph("All trials have the same objective.")
        return
    yield Paragraph(
        "The importance of a setting is the fraction of the variance of the trials' ranks that it "
        "explains alone (functional ANOVA of a random forest, Hutter et al. 2014). The forest is fitted "
        "to all ranked trials, eliminated ones with their last objective. Error bars are the standard "
        "deviation over its trees."
    )
    if importance.r2 > 0:
        rest = max(0.0, 1.0 - float(importance.share.sum()))
        yield Paragraph(
            f"On held-out trials, the forest explains {100 * importance.r2:.0f}% of the "
            f"variance. {100 * rest:.0f}% of its variance is due to interactions between settings or to "
            "chance."
        )
    else:
        yield Paragraph(
            "The forest does not generalize to held-out trials, so these fractions are not reliable."
        )
    yield importance_plot(axes, importance)
    order = sorted(range(len(axes)), key=lambda index: -importance.share[index])
    rows = [
        (
            ", ".join(axes[index].keys),
            f"{100 * importance.share[index]:.1f}%",
            f"{100 * importance.std[index]:.1f}%",
        )
        for index in order
    ]
    yield table_block(
        "Importance", ("setting", "fraction of variance", "standard deviation"), rows, right=(1, 2)
    )


def _curves(sweep: SweepContent) -> Iterator[Block]:
    histories = {}
    for row, run in sweep.kept(_MAX_CURVES):
        with suppress(RunError):
            histories[row.trial.number] = read_log(run.metrics)
    plot = curves_plot(sweep.leaderboard.objective, histories)
    if plot is not None:
        yield plot


def _compared(sweep: SweepContent, now: datetime) -> Iterator[Block]:
    kept = sweep.kept(_MAX_COMPARED)
    if len(kept) < 2:
        return
    try:
        comparison = compare_runs([run.path for _, run in kept], now)
        contents = [read_run_content(RunDirectory(run.path), now) for run in comparison.runs]
    except TrainerError as error:
        yield Paragraph(f"Damaged file: {error.problems[0]}", "warning")
        return
    names = [f"trial {row.trial.number}" for row, _ in kept]
    yield from side_by_side(comparison, contents, names)


def _failed(sweep: SweepContent) -> Iterator[Block]:
    failures = failures_table(sweep)
    yield table_block("Why trials failed", failures.columns, failures.rows, right=(0,))
    ends: dict[int, int] = {}
    for row in sweep.rows:
        if row.ended is not None and row.ended.status == "eliminated":
            ends[row.ended.epochs] = ends.get(row.ended.epochs, 0) + 1
    rows = [(f"{epochs:,}", f"{ends[epochs]:,}") for epochs in sorted(ends)]
    yield table_block("Eliminated by halving", ("after epoch", "trials"), rows, right=(0, 1))


def _search(sweep: SweepContent) -> Iterator[Block]:
    space = space_table(sweep)
    yield table_block("Search space", space.columns, space.rows)
    if sweep.config is None or sweep.config.sweep is None:
        return
    settings = sweep.config.sweep
    seed = sweep.config.seed if settings.seed is None else settings.seed
    rows = [
        ("search", sweep.search),
        ("search seed", str(seed)),
        ("trials", "until the time limit" if sweep.trials is None else f"{sweep.trials:,}"),
        ("objective", f"{sweep.leaderboard.objective}, {sweep.leaderboard.direction} is better"),
    ]
    if settings.halving is not None:
        halving = settings.halving
        rows.append(
            ("halving", f"1 in {halving.factor} trials continues, starting after {halving.first}")
        )
    if sweep.jobs is not None:
        rows.append(("jobs", str(sweep.jobs)))
    yield table_block("", ("", ""), rows if sweep.leaderboard.objective else rows[:3])


def _all_trials(sweep: SweepContent) -> Iterator[Block]:
    rows = sweep.ranked
    if len(rows) <= _BEST and all(row.ended is not None for row in rows):
        return
    title = f"All {pluralize(len(rows), 'trial')}"
    if len(rows) > _MAX_TRIALS:
        title = f"The best {_MAX_TRIALS} of {pluralize(len(rows), 'trial')}"
    yield table_block(
        title,
        _headers(sweep),
        [_cells(sweep, row) for row in rows[:_MAX_TRIALS]],
        right=range(4),
        is_collapsed=True,
    )


def _commands(sweep: SweepContent, now: datetime) -> Iterator[Block]:
    for _, run in sweep.kept(1):
        manifest = summarize(run, now, this_process()).manifest
        if manifest is not None and manifest.command:
            yield CodeBlock("This sweep was created by", (cell(shlex.join(manifest.command)),))
    repeat = command_text("sweep", sweep.directory.config)
    commands = {repeat: "run again from scratch", **sweep.commands}
    yield CodeBlock(
        "Commands to reproduce and use this sweep",
        tuple(f"{cell(command)}    # {what}" for command, what in commands.items()),
    )
    yield CodeBlock("Config", _text(sweep.directory.config), is_collapsed=True)


def _text(path: Path) -> tuple[str, ...]:
    try:
        return tuple(read_bytes(path, MAX_BYTES).decode("utf-8", "replace").splitlines())
    except RunError:
        return ()
