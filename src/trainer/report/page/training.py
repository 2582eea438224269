"""Learning curves, metrics of the first, best and last epoch, and metrics of each network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.report.decisions import read_decision_summary
from trainer.report.page.content import Block, Plot, Section, section, table_block
from trainer.report.page.figures import COLORS, DASHES, SOFT, use_integer_x, use_log_y
from trainer.report.page.run_content import RunContent
from trainer.report.text import number

_BINS = 150
_PREFIX = "val_"
_LEARNING_RATE = "learning_rate"
History = Sequence[Mapping[str, Any]]
Float64Array = npt.NDArray[np.float64]


def training_section(content: RunContent) -> Section:
    """Make the section with learning curves, the learning rate if it varies, and the networks."""
    return section("training", "Training", _training(content))


def _training(content: RunContent) -> Iterator[Block]:
    history = content.report.history
    manifest = content.report.summary.manifest
    best = manifest.best_epoch if manifest else None
    if len(history) > 1:
        yield _curve(
            history, "loss", best, read_decision_summary(content.run).labels.display_name("loss")
        )
        metric = _main_metric(content, history)
        if metric is not None:
            yield _curve(history, metric, best, metric)
        _, rates = series(history, _LEARNING_RATE)
        if len(rates) > 1 and np.ptp(rates) > 1e-6 * np.abs(rates).max():
            yield _learning_rate_plot(history)
    if history:
        yield _epochs_table(history, best)
    if content.members:
        if any(len(member.history) > 1 for member in content.members):
            yield _members_plot(content)
        yield _members_table(content)


def series(history: History, name: str) -> tuple[Float64Array, Float64Array]:
    """Return the epochs with a finite value of a metric, and the values."""
    pairs = [
        (float(record["epoch"]), float(record[name]))
        for record in history
        if _is_number(record.get("epoch")) and _is_number(record.get(name))
    ]
    epochs, values = np.array(pairs, np.float64).reshape(-1, 2).T
    return epochs, values


def thinned(epochs: Float64Array, values: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Reduce many epochs to the minimum and maximum of each of 150 bins, and both ends."""
    if len(values) <= 2 * _BINS:
        return epochs, values
    kept = {0, len(values) - 1}
    edges = np.linspace(0, len(values), _BINS + 1).astype(int)
    for low, high in pairwise(edges.tolist()):
        window = values[low:high]
        kept |= {low + int(window.argmin()), low + int(window.argmax())}
    index = np.array(sorted(kept))
    return epochs[index], values[index]


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def _main_metric(content: RunContent, history: History) -> str | None:
    """Return the metric to draw next to the loss: the monitored one, else the default of the task."""
    names = dict.fromkeys(name for record in history for name in record)
    metrics = [
        name
        for name in names
        if name not in ("epoch", "step", "loss", _LEARNING_RATE) and not name.startswith(_PREFIX)
    ]
    monitors = []
    for section_name in ("early_stopping", "checkpoint"):
        match content.settings:
            case {"fit": {**fit}}:
                match fit.get(section_name):
                    case {"monitor": str(monitor)}:
                        monitors.append(monitor.removeprefix(_PREFIX))
    default = None if content.rules is None else content.rules.compared_metrics[0]
    preferred = [name for name in (*monitors, default) if name in metrics]
    return next(iter([*preferred, *metrics]), None)


def _curve(history: History, name: str, best: int | None, title: str) -> Plot:
    keys = (("training", name), ("validation", f"{_PREFIX}{name}"))
    curves = [(label, *series(history, key)) for label, key in keys]
    curves = [curve for curve in curves if len(curve[2])]
    texts = [_curve_text(label, epochs, values, best) for label, epochs, values in curves]

    def draw(axes: Any) -> None:
        for index, (label, epochs, values) in enumerate(curves):
            x, y = thinned(epochs, values)
            axes.plot(x, y, color=COLORS[index], linestyle=DASHES[index], label=label)
        _mark_best(axes, best)
        if name == "loss":
            scale_loss(axes, [values for _, _, values in curves])
        use_integer_x(axes, "epoch")
        axes.legend(loc="upper right" if is_decreasing else "lower right")

    is_decreasing = bool(curves) and curves[0][2][-1] < curves[0][2][0]
    description = f"{title} by epoch. {' '.join(texts)}"
    return Plot(f"curve-{_slug(name)}", f"{title} by epoch", description, draw)


def _curve_text(label: str, epochs: Float64Array, values: Float64Array, best: int | None) -> str:
    first, last = number(values[0]), number(values[-1])
    text = f"{label.capitalize()}: {first} in the first epoch, {last} in the last"
    index = np.flatnonzero(epochs == best)
    if len(index):
        text += f", {number(values[index[0]])} in the best epoch ({best})"
    return f"{text}."


def _mark_best(axes: Any, best: int | None) -> None:
    if best is not None:
        axes.axvline(best, color=SOFT, linestyle=":", linewidth=1.2, label=f"best epoch ({best:,})")


def scale_loss(axes: Any, curves: Sequence[Float64Array]) -> None:
    """Use a log scale for a loss that varies over orders of magnitude."""
    values = np.concatenate(curves) if curves else np.zeros(1)
    if values.min() > 0 and values.max() > 30 * values.min():
        use_log_y(axes)


def _learning_rate_plot(history: History) -> Plot:
    epochs, rates = series(history, _LEARNING_RATE)

    def draw(axes: Any) -> None:
        axes.plot(*thinned(epochs, rates), color=COLORS[0])
        use_integer_x(axes, "epoch")
        if rates.min() > 0 and rates.max() > 30 * rates.min():
            use_log_y(axes)

    description = (
        f"Learning rate by epoch: {number(rates[0])} in the first epoch, maximum "
        f"{number(rates.max())}, {number(rates[-1])} in the last."
    )
    return Plot("learning-rate", "learning rate by epoch", description, draw)


def _epochs_table(history: History, best: int | None) -> Block:
    """Make a table of the metrics in the first, the best and the last epoch."""
    at_best = [record for record in history if best is not None and record.get("epoch") == best]
    records = [
        ("first epoch", history[0]),
        *((f"best epoch ({best:,})", record) for record in at_best[:1]),
    ]
    records.append((f"last epoch ({len(history):,})", history[-1]))
    names = dict.fromkeys(name for record in history for name in record)
    metrics = [name for name in names if name not in ("epoch", "step")]
    rows = [
        (
            name,
            *(
                number(record[name]) if _is_number(record.get(name)) else "–"
                for _, record in records
            ),
        )
        for name in metrics
    ]
    headers = ("metric", *(head for head, _ in records))
    is_collapsed = len(metrics) > 6
    return table_block(
        "Metrics by epoch", headers, rows, right=range(1, len(headers)), is_collapsed=is_collapsed
    )


def _members_plot(content: RunContent) -> Plot:
    curves = []
    for member in content.members:
        for name in ("val_loss", "loss"):
            epochs, values = series(member.history, name)
            if len(values) > 1:
                curves.append((name, epochs, values))
                break
    minima = np.array([values.min() for _, _, values in curves]) if curves else np.zeros(1)

    def draw(axes: Any) -> None:
        for index, (_, epochs, values) in enumerate(curves):
            color = COLORS[index % len(COLORS)]
            axes.plot(*thinned(epochs, values), color=color, linewidth=0.9, alpha=0.8)
        scale_loss(axes, [values for _, _, values in curves])
        use_integer_x(axes, "epoch")

    name = curves[0][0] if curves else "loss"
    description = (
        f"{name} by epoch of {len(curves)} networks. Their minima range from "
        f"{number(minima.min())} to {number(minima.max())}."
    )
    return Plot("curve-members", f"{name} by epoch for each network", description, draw)


def _members_table(content: RunContent) -> Block:
    metrics = {
        (split, name): None
        for member in content.members
        for split in ("validation", "test")
        for name in member.metrics.get(split, {})
    }
    rows = [
        (
            f"{member.number}",
            *(number(member.metrics.get(split, {}).get(name)) for split, name in metrics),
        )
        for member in content.members
    ]
    headers = ("network", *(f"{split} {name}" for split, name in metrics))
    is_collapsed = len(rows) > 10
    title = f"Metrics of the {len(rows)} networks"
    return table_block(
        title, headers, rows, right=range(1, len(headers)), is_collapsed=is_collapsed
    )


def _slug(name: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
