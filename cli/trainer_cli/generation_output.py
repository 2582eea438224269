"""Output of `check` and `fit` for task: generate."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainer.errors import pluralize
from trainer.report.class_table import split_lines
from trainer.report.text import Table, cell, format_bytes
from trainer.report.wrapping import table_lines, wrap_text
from trainer_cli import console
from trainer_cli.options import SPLITS
from trainer_cli.sweep_views import plan_line

if TYPE_CHECKING:
    from trainer.workflows.generation.plan import GenerationPlan
    from trainer.workflows.sweeps.sweep_plan import SweepPlan

_SHOWN_COLUMNS = 40


def generation_summary(plan: GenerationPlan) -> list[str]:
    """Return the task, the rows and the networks as lines of text."""
    rows = ", ".join(
        f"{plan.dataset.rows(name):,} {name}" for name in SPLITS if plan.dataset.rows(name)
    )
    networks = [
        f"{name}: {' → '.join(layer.name for layer in layers)}"
        for name, layers in plan.networks.items()
    ]
    return [
        f"{plan.config.name}: generate {generated_text(plan)}; rows: {rows}",
        *networks,
        f"{plan.parameters:,} parameters",
    ]


def generated_text(plan: GenerationPlan) -> str:
    """Return what is generated: `images of 28 × 28 × 1 by class (digit)`."""
    rows = plan.dataset.preprocessing
    if rows.images is not None:
        text = "images of " + " × ".join(map(str, rows.images.shape))
    else:
        text = f"rows of {pluralize(len(rows.columns), 'column')}"
    return f"{text} by class ({rows.target})" if rows.condition else text


def show_generation_check(
    plan: GenerationPlan, sweep: SweepPlan | None, *, json: bool, quiet: bool
) -> None:
    """Print what `fit` or `sweep` would do."""
    for warning in plan.warnings:
        console.warn(warning)
    for note in plan.notes:
        console.Console(quiet=quiet).print(f"note: {note}")
    if json:
        swept = None if sweep is None else asdict(sweep)
        console.json_result({**_plan_json(plan), "sweep": swept})
    elif not quiet:
        for line in _lines(plan):
            for part in wrap_text(line, console.result_columns()):
                console.result(part)
        if sweep is not None:
            console.result(plan_line(sweep))


def _lines(plan: GenerationPlan) -> list[str]:
    from trainer.tracking.trackers import tracker_locations

    config, dataset, memory = plan.config, plan.dataset, plan.memory
    epochs = -(-plan.total_steps // plan.steps_per_epoch)
    settings = config.generation
    updates = pluralize(settings.discriminator_steps, "update")
    sizes = {
        "data": plan.data_bytes,
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "activations": memory.activations,
    }
    return [
        f"{config.name}: generate {generated_text(plan)}",
        f"latent numbers {settings.latent}, loss {settings.loss}, best epoch by "
        f"{config.fit.checkpoint.monitor}",
        "",
        *_column_lines(plan),
        *split_lines(
            {name: dataset.rows(name) for name in SPLITS},
            {name: dataset.classes(name) for name in SPLITS},
            dataset.dropped,
            noun="class",
        ),
        "",
        *_layer_lines(plan),
        "",
        f"{pluralize(epochs, 'epoch')} of {pluralize(plan.steps_per_epoch, 'step')}, with {updates} of "
        f"the discriminator each: {pluralize(plan.total_steps, 'step')}",
        f"engine: {plan.engine.engine} ({plan.engine.reason})",
        *(
            f"tracked by {name}: {cell(location)}"
            for name, location in tracker_locations(config).items()
        ),
        "memory: " + ", ".join(f"{name} {format_bytes(size)}" for name, size in sizes.items()),
    ]


def _column_lines(plan: GenerationPlan) -> list[str]:
    columns = plan.dataset.preprocessing.columns
    if not columns:
        return []
    rows = [
        [column.name, column.kind, f"{column.width:,}", f"{column.missing:,}"]
        for column in columns[:_SHOWN_COLUMNS]
    ]
    lines = _table(["column", "kind", "values", "missing"], rows, right={2, 3})
    if len(columns) > _SHOWN_COLUMNS:
        lines.append(f"… and {len(columns) - _SHOWN_COLUMNS:,} more columns")
    return [*lines, ""]


def _layer_lines(plan: GenerationPlan) -> list[str]:
    rows = [
        [
            network,
            layer.name,
            " × ".join(map(str, layer.output_shape or ())),
            f"{layer.parameters:,}",
        ]
        for network, layers in plan.networks.items()
        for layer in layers
    ]
    rows.append(["total", "", "", f"{plan.parameters:,}"])
    return _table(["network", "layer", "output", "parameters"], rows, right={2, 3})


def _table(columns: list[str], rows: list[list[str]], right: set[int]) -> list[str]:
    cells = tuple(tuple(map(cell, row)) for row in rows)
    table = Table("", tuple(map(cell, columns)), cells, frozenset(right))
    return table_lines(table, console.result_columns())


def _plan_json(plan: GenerationPlan) -> dict[str, Any]:
    from trainer.tracking.trackers import tracker_locations

    dataset, rows = plan.dataset, plan.dataset.preprocessing
    return {
        "name": plan.config.name,
        "task": plan.task_name,
        "loss": plan.config.generation.loss,
        "monitor": plan.config.fit.checkpoint.monitor,
        "rows": {name: dataset.rows(name) for name in SPLITS},
        "classes": {name: dataset.classes(name) for name in SPLITS if dataset.rows(name)},
        "dropped": dataset.dropped,
        "columns": [
            {"name": column.name, "kind": column.kind, "values": column.width}
            for column in rows.columns
        ],
        "image": None if rows.images is None else list(rows.images.shape),
        "networks": {
            name: [
                {
                    "name": layer.name,
                    "output_shape": list(layer.output_shape or ()),
                    "parameters": layer.parameters,
                }
                for layer in layers
            ]
            for name, layers in plan.networks.items()
        },
        "parameters": plan.parameters,
        "bytes": {"data": plan.data_bytes, **asdict(plan.memory)},
        "engine": {"name": plan.engine.engine, "reason": plan.engine.reason},
        "steps_per_epoch": plan.steps_per_epoch,
        "steps": plan.total_steps,
        "tracked": tracker_locations(plan.config),
        "warnings": list(plan.warnings),
        "notes": list(plan.notes),
    }
