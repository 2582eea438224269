"""Compare the efforts of `benchmarks.accuracy` with each other and with other learners, on the tables
and folds that all efforts ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.learner_errors import LEARNERS, complete_errors, geometric_mean
from benchmarks.markdown import table

EFFORTS = ("quick", "balanced", "best")
WITHOUT_REPORT = "balanced-without_report"
_LIMITED = "within"


def summarize_efforts(
    setups: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Any],
    tasks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the figures of each effort and of each learner, by table.

    Args:
        setups: Setup → table → figures, as in `benchmarks.accuracy_results`.
        baselines: The results of the other learners.
        tasks: The tables of the suite.

    Returns:
        Empty if there are fewer than two efforts. `tables` is table → name of an effort or a learner →
        figures: the ratio of its error to that of the best other learner, whether it is less than
        that of the boosting library, CPU seconds, and for efforts the longest wall-clock time.
    """
    efforts = {name: setups[name] for name in _ordered(setups)}
    compared = [figures for name, figures in efforts.items() if name != WITHOUT_REPORT]
    if len(compared) < 2:
        return {}
    tables = {}
    for task in tasks:
        name, metric = task["name"], task["metric"]
        of_efforts = [figures.get(name, {}).get("folds", ()) for figures in compared]
        folds = sorted(set.intersection(*map(set, of_efforts)))
        if not folds:
            continue
        errors = complete_errors(baselines[name], metric, folds)
        best = min(errors.values())
        boosting = next((errors[key] for key in ("lightgbm", "hgb") if key in errors), None)
        rows = {}
        for effort, figures in efforts.items():
            measured = figures.get(name, {})
            if not set(folds) <= set(measured.get("folds", ())):
                continue
            error = mean(measured["errors"][fold] for fold in folds)
            rows[effort] = {
                "ratio": error / best,
                "is_ahead": boosting is not None and error < boosting,
                "cpu_seconds": mean(measured["fold_cpu_seconds"][fold] for fold in folds),
                "seconds": max(measured["fold_seconds"][fold] for fold in folds),
            }
        for learner, error in errors.items():
            seconds = baselines[name][learner]["fit_seconds"]["per_fold"]
            rows[learner] = {
                "ratio": error / best,
                "is_ahead": boosting is not None and error < boosting,
                "cpu_seconds": mean(seconds[fold] for fold in folds),
            }
        tables[name] = {"folds": folds, "rows": rows}
    return {"efforts": list(efforts), "tables": tables} if tables else {}


def _ordered(setups: Mapping[str, Any]) -> list[str]:
    """Return the setups that are efforts, complete and with one seed."""
    names = [
        name
        for name in setups
        if "seed" not in name and ("without" not in name or name == WITHOUT_REPORT)
    ]
    return sorted(names, key=lambda name: (EFFORTS.index(name.split("-")[0]), name))


def effort_sections(summary: Mapping[str, Any]) -> Iterator[str]:
    """Render the result of `summarize_efforts`."""
    folds = sorted({fold for figures in summary["tables"].values() for fold in figures["folds"]})
    which = f"fold {folds[0]}" if len(folds) == 1 else f"the folds {', '.join(folds)}"
    yield (
        f"By effort, on the tables and folds that all efforts ran ({which}). The ratio is the "
        "geometric mean over the tables. CPU seconds are the sum over the tables. With a time limit, "
        "wall-clock seconds are those of the whole command."
    )
    yield _summary_table(summary)
    yield (
        "By table: the error divided by that of the best other learner, and the CPU seconds of "
        "`trainer fit`; with a time limit also the wall-clock seconds."
    )
    yield _tables(summary)


def effort_text(name: str) -> str:
    """Return for example `best, within 60 s`."""
    if name == WITHOUT_REPORT:
        return "balanced, without baselines and report"
    return name.replace("-", ", ").replace("_", " ")


def _summary_table(summary: Mapping[str, Any]) -> str:
    head = (
        "",
        "tables",
        "folds",
        "ratio",
        "largest ratio",
        "tables with less error than boosting",
        "CPU seconds",
        "longest, seconds",
    )
    tables = summary["tables"]
    lines = []
    for name in (*summary["efforts"], *LEARNERS):
        rows = {
            key: figures["rows"][name] for key, figures in tables.items() if name in figures["rows"]
        }
        if not rows:
            continue
        worst = max(rows, key=lambda key: rows[key]["ratio"])
        longest = max((row.get("seconds", 0.0) for row in rows.values()), default=0.0)
        is_effort = name in summary["efforts"]
        lines.append(
            (
                effort_text(name) if is_effort else LEARNERS[name],
                str(len(rows)),
                _range([len(tables[key]["folds"]) for key in rows]),
                f"{geometric_mean([row['ratio'] for row in rows.values()]):.3f}",
                f"{rows[worst]['ratio']:.3f} ({worst})",
                str(sum(row["is_ahead"] for row in rows.values())),
                f"{sum(row['cpu_seconds'] for row in rows.values()):,.0f}",
                f"{longest:.0f}" if is_effort and _LIMITED in name else "",
            )
        )
    return table(head, lines)


def _range(counts: Sequence[int]) -> str:
    return "–".join(map(str, sorted({min(counts), max(counts)})))


def _tables(summary: Mapping[str, Any]) -> str:
    efforts = [name for name in summary["efforts"] if name != WITHOUT_REPORT]
    limited = [name for name in efforts if _LIMITED in name]
    head = (
        "table",
        *map(effort_text, efforts),
        *(f"{effort_text(name)}: CPU seconds" for name in efforts),
        *(f"{effort_text(name)}: seconds" for name in limited),
    )
    lines = [
        (
            name,
            *(f"{figures['rows'][effort]['ratio']:.3f}" for effort in efforts),
            *(f"{figures['rows'][effort]['cpu_seconds']:.1f}" for effort in efforts),
            *(f"{figures['rows'][effort]['seconds']:.1f}" for effort in limited),
        )
        for name, figures in summary["tables"].items()
    ]
    return table(head, lines)
