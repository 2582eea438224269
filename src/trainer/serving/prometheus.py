"""`/metrics`: the counters of all workers, the models, and drift, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trainer.serving.counters import Counters, head, quoted
from trainer.serving.models import Served

if TYPE_CHECKING:
    from trainer.serving.generators import ServedGenerator


def metrics_text(counters: Counters, models: Sequence[Served | ServedGenerator]) -> str:
    """Return all metrics."""
    lines = [*counters.text(), *_model_lines(models)]
    if any(served.monitor is not None for served in models):
        lines += _drift_lines(counters, models)
    return "\n".join(lines) + "\n"


def _model_lines(models: Sequence[Served | ServedGenerator]) -> Iterator[str]:
    yield from head("trainer_model_info", "gauge", "The run that is served for each model.")
    for served in models:
        schema = served.model.schema
        labels = {
            "model": served.model.source.name,
            "run": schema.run,
            "weights_sha256": schema.weights_sha256,
        }
        text = ",".join(f"{name}={quoted(value)}" for name, value in labels.items())
        yield f"trainer_model_info{{{text}}} 1"


def _drift_lines(counters: Counters, models: Sequence[Served | ServedGenerator]) -> Iterator[str]:
    # Without monitoring, its imports are not needed.
    from trainer.audit.stability import column_drift
    from trainer.serving.monitoring_bins import counters_by_model, monitored_columns

    all_bins = [served.model.source.bins for served in models]
    counts = counters_by_model(all_bins, counters.monitored())
    values, drifts = [], []
    for served, bins, part in zip(models, all_bins, counts, strict=True):
        for column in monitored_columns(bins, part):
            labels = (
                f"model={quoted(served.model.source.name)},column={quoted(column.name)},"
                f'role="{column.role}"'
            )
            values += [
                f"trainer_monitored_values_total{{{labels},bin={quoted(name)}}} {count}"
                for name, count in zip(column.bins, column.served, strict=True)
            ]
            drift = column_drift(column.reference, column.served, len(bins))
            if drift is not None:
                drifts.append((labels, drift))
    yield from head(
        "trainer_monitored_values_total", "counter", "Served values in the bins of training rows."
    )
    yield from values
    yield from head(
        "trainer_drift_index",
        "gauge",
        "Population stability index of served against training rows.",
    )
    yield from (f"trainer_drift_index{{{labels}}} {drift.index:.6g}" for labels, drift in drifts)
    yield from head("trainer_drift_limit", "gauge", "The index above which a column has drifted.")
    yield from (f"trainer_drift_limit{{{labels}}} {drift.limit:.6g}" for labels, drift in drifts)
