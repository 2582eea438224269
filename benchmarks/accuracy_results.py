"""Summarize the accuracy on tables with fixed folds, and render it as Markdown.

An error is the RMSE, the log loss, or 1 - AUC. Its ratio is the mean error over folds divided by that
of the best other learner, which is chosen for each table afterwards, among those that ran all of these
folds.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.effort_results import WITHOUT_REPORT, effort_sections, summarize_efforts
from benchmarks.learner_errors import LEARNERS, complete_errors, fold_errors, geometric_mean
from benchmarks.markdown import figure, table

MAIN = "balanced"
BOOSTING = ("lightgbm", "hgb")
"""The boosting library to compare with: the first that ran on the suite."""
_SUITES = {"quality": "Tables on which the rules were developed", "held_out": "Unseen tables"}
_PART_TEXTS = {
    "bins": "piecewise-linear bins of numbers",
    "target_means": "target means of categories",
    "smoothing": "label smoothing and calibration",
    "quantiles": "quantiles beside the mean",
    "folds": "folds: one network, 20% of the rows for early stopping",
    "learned_scale": "learned scale of inputs",
    "dropout": "dropout",
    "smooth_clip": "smooth clipping of outliers",
    "components": "principal components",
    "dates": "parts of dates other than the elapsed time",
    "weight_decay": "weight decay",
}


def summarize(folder: Path) -> dict[str, Any]:
    """Return all results in a folder of `benchmarks.accuracy`, by suite and setup."""
    suites = {}
    for suite in sorted(path for path in folder.iterdir() if path.is_dir()):
        tasks = json.loads((suite / "tasks.json").read_text(encoding="utf-8"))["tasks"]
        baselines = json.loads((suite / "baselines.json").read_text(encoding="utf-8"))["results"]
        setups = {
            path.name: _read_setup(path, tasks, baselines)
            for path in sorted(suite.iterdir())
            if path.is_dir()
        }
        results = [
            json.loads(path.read_text(encoding="utf-8")) for path in sorted(suite.glob("*/*.json"))
        ]
        suites[suite.name] = {
            "measured_on": sorted({result.get("measured_on", "") for result in results} - {""}),
            "setups": setups,
            "learners": _learners(setups, baselines, tasks),
            "efforts": summarize_efforts(setups, baselines, tasks),
        }
    return {"suites": suites}


def _read_setup(
    folder: Path, tasks: Sequence[Mapping[str, Any]], baselines: Mapping[str, Any]
) -> dict[str, Any]:
    """Return table → figures, in the order of the suite."""
    measured: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for path in folder.glob("*.json"):
        name, _, fold = path.stem.rpartition("-")
        measured[name][fold] = json.loads(path.read_text(encoding="utf-8"))
    tables = {}
    for task in tasks:
        by_fold = dict(sorted(measured[task["name"]].items()))
        if not by_fold:
            continue
        if any("unchanged" in result for result in by_fold.values()):
            tables[task["name"]] = {"folds": list(by_fold), "unchanged": True}
            continue
        tables[task["name"]] = _table_figures(task, by_fold, baselines[task["name"]])
    return tables


def _table_figures(
    task: Mapping[str, Any], by_fold: Mapping[str, Any], baselines: Mapping[str, Any]
) -> dict[str, Any]:
    errors = {fold: result["error"] for fold, result in by_fold.items()}
    complete = complete_errors(baselines, task["metric"], list(errors))
    best = min(complete, key=lambda name: complete[name])
    boosting = next((name for name in BOOSTING if name in complete), None)
    cpu_seconds = {fold: result["cpu_seconds"] for fold, result in by_fold.items()}
    error = mean(errors.values())
    # In one fold, more learners may have run.
    least = {
        fold: min(complete_errors(baselines, task["metric"], [fold]).values()) for fold in errors
    }
    return {
        "rows": task["n_rows"],
        "task": task["task"],
        "metric": task["metric"],
        "folds": list(errors),
        "errors": errors,
        "error": error,
        "best": best,
        "best_error": complete[best],
        "ratio": error / complete[best],
        "fold_ratios": {fold: value / least[fold] for fold, value in errors.items()},
        "boosting": boosting,
        "boosting_ratio": None if boosting is None else error / complete[boosting],
        "fold_seconds": {fold: result["seconds"] for fold, result in by_fold.items()},
        "fold_cpu_seconds": cpu_seconds,
        "cpu_seconds": mean(cpu_seconds.values()),
    }


def _learners(
    setups: Mapping[str, Any], baselines: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return for each learner its ratios and CPU seconds, next to ours on the same tables and folds.

    Those without baselines and report are for one fold or more; None if a table has not been measured.
    """
    tables, unreported = setups.get(MAIN, {}), setups.get(WITHOUT_REPORT, {})
    metrics = {task["name"]: task["metric"] for task in tasks}
    learners: dict[str, Any] = {}
    for learner in LEARNERS:
        rows = []
        for name, ours in tables.items():
            results = baselines[name].get(learner)
            if results is None:
                continue
            per_fold, seconds = (
                results[metrics[name]]["per_fold"],
                results["fit_seconds"]["per_fold"],
            )
            folds = [fold for fold in ours["folds"] if fold in per_fold]
            if not folds:
                continue
            error = mean(fold_errors(per_fold, metrics[name], folds).values())
            rows.append(
                {
                    "folds": len(folds),
                    "ratio": mean(ours["errors"][fold] for fold in folds) / error,
                    "seconds": mean(seconds[fold] for fold in folds),
                    "our_seconds": ours["cpu_seconds"],
                    "unreported_seconds": unreported.get(name, {}).get("cpu_seconds", math.nan),
                }
            )
        if rows:
            learners[learner] = {
                "tables": len(rows),
                "folds": sum(row["folds"] for row in rows),
                "ratio": geometric_mean([row["ratio"] for row in rows]),
                "ahead": sum(row["ratio"] < 1 for row in rows),
                "cpu_seconds": sum(row["seconds"] for row in rows),
                "our_cpu_seconds": sum(row["our_seconds"] for row in rows),
                "unreported_cpu_seconds": _total([row["unreported_seconds"] for row in rows]),
            }
    return learners


def _total(seconds: Sequence[float]) -> float | None:
    total = sum(seconds)
    return None if math.isnan(total) else total


def accuracy_sections(results: Mapping[str, Any]) -> Iterator[str]:
    """Render the results of `summarize`."""
    yield (
        "`python -m benchmarks.accuracy`: `trainer init`, `fit` and `predict` on tables with five fixed "
        "folds. Nothing is set by hand. The error is 1 - AUC for two classes, the log loss for more, "
        "and the RMSE for numbers. Its ratio is the mean error over the folds divided by that of the "
        "best other learner, chosen for each table afterwards; below 1, trainer is more accurate than "
        "all of them. The others have their default settings, unless stated. CPU seconds are "
        "those of `trainer fit` with start-up, compilation, evaluation, baselines and report, with an "
        "empty cache."
    )
    for name, suite in results["suites"].items():
        yield f"### {_SUITES.get(name, name)}"
        if suite["measured_on"]:
            yield f"Measured on: {'; '.join(suite['measured_on'])}."
        yield from _suite_sections(suite)


def _suite_sections(suite: Mapping[str, Any]) -> Iterator[str]:
    setups = suite["setups"]
    if main := setups.get(MAIN):
        yield _tables(main)
    if suite["learners"]:
        yield (
            "trainer and each learner, on the tables and folds that both ran. CPU seconds are the sum "
            "over the tables of the mean of a fold."
        )
        yield _learner_table(suite["learners"])
    if suite.get("efforts"):
        yield from effort_sections(suite["efforts"])
    ablations = {part: setups.get(f"{MAIN}-without_{part}") for part in _PART_TEXTS}
    measured = {part: tables for part, tables in ablations.items() if tables}
    if main and measured:
        yield _ABLATIONS
        yield _ablation_table(main, measured, setups)


_ABLATIONS = (
    "What each part of the config contributes: the error without it, divided by the error with it, on "
    "the same tables and folds; above 1, the part helps. The range is that of single tables. A table "
    "whose config does not have the part is not counted."
)


def _tables(tables: Mapping[str, Any]) -> str:
    head = (
        "table",
        "rows",
        "task",
        "error",
        "best other learner",
        "its error",
        "ratio",
        "by fold",
        "relative to boosting",
        "CPU seconds",
    )
    rows = []
    for name, figures in tables.items():
        ratios = list(figures["fold_ratios"].values())
        boosting = figures["boosting_ratio"]
        rows.append(
            (
                name,
                f"{figures['rows']:,}",
                figures["task"],
                figure(figures["error"]),
                LEARNERS[figures["best"]],
                figure(figures["best_error"]),
                f"{figures['ratio']:.3f}",
                f"{min(ratios):.2f}–{max(ratios):.2f} ({len(ratios)})",
                "" if boosting is None else f"{boosting:.3f}",
                f"{figures['cpu_seconds']:.1f}",
            )
        )
    total = totals(tables)
    rows.append(
        (
            "geometric mean, sum",
            *[""] * 5,
            f"{total['ratio']:.3f}",
            "",
            f"{total['boosting_ratio']:.3f}",
            f"{total['cpu_seconds']:.0f}",
        )
    )
    boosting = LEARNERS[next(iter(tables.values()))["boosting"]]
    text = (
        f"\n\n{total['ahead']} of {len(tables)} tables have less error than {boosting}. The largest "
        f"ratio of a table is {total['worst']:.3f}."
    )
    if len(tables) > 1:
        lowest = min(tables, key=lambda name: tables[name]["ratio"])
        others = totals({name: figures for name, figures in tables.items() if name != lowest})
        text += f" Without {lowest}, the geometric mean is {others['ratio']:.3f}."
    return table(head, rows) + text


def totals(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the geometric means over tables, the worst ratio, and the sum of CPU seconds."""
    changed = [figures for figures in tables.values() if "unchanged" not in figures]
    boosting = [figures["boosting_ratio"] for figures in changed if figures["boosting_ratio"]]
    ratios = [figures["ratio"] for figures in changed]
    return {
        "ratio": geometric_mean(ratios),
        "boosting_ratio": geometric_mean(boosting) if boosting else math.nan,
        "ahead": sum(ratio < 1 for ratio in boosting),
        "worst": max(ratios),
        "cpu_seconds": sum(figures["cpu_seconds"] for figures in changed),
    }


def _learner_table(learners: Mapping[str, Any]) -> str:
    head = (
        "",
        "tables",
        "folds",
        "error relative to it",
        "tables with less error",
        "its CPU seconds",
        "trainer's",
    )
    rows = [
        (
            LEARNERS[name],
            str(figures["tables"]),
            str(figures["folds"]),
            f"{figures['ratio']:.3f}",
            str(figures["ahead"]),
            f"{figures['cpu_seconds']:,.0f}",
            f"{figures['our_cpu_seconds']:,.0f}",
            _count(figures["unreported_cpu_seconds"]),
        )
        for name, figures in learners.items()
    ]
    if any(row[-1] for row in rows):
        return table((*head, "without baselines and report"), rows)
    return table(head, [row[:-1] for row in rows])


def _count(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:,.0f}"


def _ablation_table(
    main: Mapping[str, Any], measured: Mapping[str, Any], setups: Mapping[str, Any]
) -> str:
    named = {_PART_TEXTS[part]: tables for part, tables in measured.items()}
    seed = next((name for name in setups if name.startswith(f"{MAIN}-seed_")), None)
    if seed is not None:
        named["nothing, with another seed"] = setups[seed]
    rows = []
    for text, tables in named.items():
        ratios = {
            name: _error_ratio(figures["errors"], main[name]["errors"])
            for name, figures in tables.items()
            if name in main and _common(figures, main[name])
        }
        if not ratios:
            continue
        least, most = (choose(ratios, key=lambda name: ratios[name]) for choose in (min, max))
        rows.append(
            (
                text,
                str(len(ratios)),
                f"{geometric_mean(list(ratios.values())):.3f}",
                f"{ratios[least]:.2f} ({least}) – {ratios[most]:.2f} ({most})",
                str(sum(ratio > 1 for ratio in ratios.values())),
            )
        )
    return table(("without", "tables", "error", "range", "tables with more error"), rows)


def _error_ratio(changed: Mapping[str, float], complete: Mapping[str, float]) -> float:
    """Return the ratio of mean errors over the folds that both ran."""
    folds = [fold for fold in changed if fold in complete]
    return mean(changed[fold] for fold in folds) / mean(complete[fold] for fold in folds)


def _common(first: Mapping[str, Any], second: Mapping[str, Any]) -> set[str]:
    """Return the folds in which both have an error."""
    return set(first.get("errors", ())) & set(second.get("errors", ()))
