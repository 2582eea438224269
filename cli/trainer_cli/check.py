"""`trainer check`: validates a config and its data without training."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.errors import Problem, UsageError, pluralize
from trainer.report.class_table import split_lines
from trainer.report.text import Table, cell, format_bytes, inputs_text
from trainer.report.wrapping import table_lines, wrap_text
from trainer_cli import console
from trainer_cli.fit_table import propose
from trainer_cli.generation_output import show_generation_check
from trainer_cli.options import SPLITS, ConfigArguments, Json, Quiet, one_config
from trainer_cli.sheet import Sheet, check_sheet, write_sheet
from trainer_cli.sweep_views import plan_line

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config.load import LoadedConfig
    from trainer.config.schema import Fit
    from trainer.data.image_sample import HeaderSample
    from trainer.workflows.audit import Audit
    from trainer.workflows.plan import RunPlan
    from trainer.workflows.sweeps.sweep_plan import SweepPlan

_SHOWN_COLUMNS = 40
_SHOWN_FEATURES = 4


def command(
    arguments: ConfigArguments,
    data: Annotated[
        bool,
        typer.Option(
            "--data",
            help="Audit the data instead: duplicates across splits, leaking groups, target leakage, "
            "drift and more; for a run, likely label errors. Exit code 2 if there is an error.",
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --data: exit code 2 for warnings too.")
    ] = False,
    sheet: Sheet = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Validate a config and its data, or a folder of images, and show what `fit` would do.

    Example: trainer check configs/breast_cancer.yaml model.layers.0.dense.units=128

    Example: trainer check --data configs/breast_cancer.yaml

    Example: trainer check photos --sheet photos.html
    """
    check_sheet(sheet)
    if data:
        if sheet is not None:
            raise UsageError(Problem("trainer check --sheet", "no --data", "--data"))
        _audit(arguments, strict=strict, quiet=quiet, json=json)
        return
    if strict:
        raise UsageError(Problem("trainer check --strict", "--data as well", "no --data"))
    from trainer.config.generation import generates
    from trainer.config.members import member_configs
    from trainer.workflows.plan import make_plan

    loaded = _load(*one_config(arguments, "trainer check"), quiet=quiet)
    if generates(loaded.config.data):
        if sheet is not None:
            expected = "no --sheet with task: generate"
            raise UsageError(Problem("trainer check --sheet", expected, "one", "remove it"))
        from trainer.workflows.generation.plan import make_generation_plan

        plan_of_both = make_generation_plan(loaded)
        show_generation_check(plan_of_both, _sweep_plan(loaded), json=json, quiet=quiet)
        return
    members = member_configs(loaded.config)
    plan = make_plan(replace(loaded, config=members[0].config))
    for warning in plan.warnings:
        console.warn(warning)
    for note in (*plan.notes, *plan.dataset.hints):
        console.Console(quiet=quiet).print(f"note: {note}")
    sizes = _sample_headers(plan)
    write_sheet(sheet, plan)
    sweep = _sweep_plan(loaded)
    if json:
        swept = None if sweep is None else asdict(sweep)
        images = None if sizes is None else _sizes_json(sizes)
        console.json_result(
            {**_plan_json(plan), "images": images, "networks": len(members), "sweep": swept}
        )
    elif not quiet:
        lines = [*_lines(plan), *_network_lines(loaded.config.fit, len(members))]
        if sizes is not None and sizes.headers:
            lines.append(f"images: {sizes.size_text()}; {pluralize(sizes.files, 'file')} looked at")
        for line in lines:
            for part in wrap_text(line, console.result_columns()):
                console.result(part)
        if sweep is not None:
            console.result(plan_line(sweep))


def _sweep_plan(loaded: LoadedConfig) -> SweepPlan | None:
    """Return the plan of a sweep; None for a config without one."""
    if loaded.config.sweep is None:
        return None
    from trainer.sweep.trial_count import combinations_warning
    from trainer.workflows.sweeps.sweep_plan import plan_sweep

    sweep = plan_sweep(loaded)
    if sweep.combinations is not None:
        console.warn(combinations_warning(loaded.config))
    return sweep


def _sample_headers(plan: RunPlan) -> HeaderSample | None:
    """Read the headers of some images; None without images."""
    image = plan.dataset.preprocessing.image
    if image is None:
        return None
    from trainer.data.image_sample import sample_headers

    return sample_headers(plan.dataset.table.frame[image.name])


def _sizes_json(sample: HeaderSample) -> dict[str, Any]:
    return {
        "files": sample.files,
        "sizes": [
            {"width": width, "height": height, "files": files}
            for (width, height), files in sample.sizes
        ],
        "broken": [{"path": path, "reason": reason} for path, reason in sample.broken],
    }


def _load(path: Path, overrides: list[str], *, quiet: bool) -> LoadedConfig:
    """Return a config, or the one that `trainer init` would write for a folder of images."""
    from trainer.config.image_folders import is_image_folder
    from trainer.data.checking import load_checked
    from trainer.runs.search import is_run

    if is_image_folder(path) and not is_run(path):
        return propose(path, (), None, overrides, console.Console(quiet=quiet))
    return load_checked(path, overrides)


def _audit(arguments: list[str], *, strict: bool, quiet: bool, json: bool) -> None:
    from trainer.config.generation import generates
    from trainer.config.members import member_configs
    from trainer.runs.search import is_run
    from trainer.workflows.audit import audit_data, audit_labels

    path, overrides = one_config(arguments, "trainer check --data")
    if is_run(path):
        if overrides:
            expected, fix = "no KEY=VALUE: a run has its config", f"remove {overrides[0]}"
            raise UsageError(
                Problem("trainer check --data RUN", expected, f"'{overrides[0]}'", fix)
            )
        audit = audit_labels(path)
    else:
        loaded = _load(path, overrides, quiet=quiet)
        if generates(loaded.config.data):
            expected, found = "a task with a target to predict", "task: generate"
            fix = "run trainer check without --data"
            raise UsageError(Problem("trainer check --data", expected, found, fix))
        audit = audit_data(replace(loaded, config=member_configs(loaded.config)[0].config))
    for warning in audit.warnings:
        console.warn(warning)
    for finding in audit.findings:
        match finding.severity:
            case "error":
                console.error(str(finding.problem))
            case "warning":
                console.warn(str(finding.problem))
            case "note":
                console.Console(quiet=quiet).print(f"note: {finding.problem}")
    if json:
        console.json_result(audit.to_json())
    elif not quiet:
        console.result(_audit_line(audit))
    if audit.count("error") or (strict and audit.count("warning")):
        raise typer.Exit(2)


def _audit_line(audit: Audit) -> str:
    rows = ", ".join(f"{count:,} {split}" for split, count in audit.rows.items())
    features = f", {pluralize(audit.features, 'feature')}" if audit.features else ""
    errors, warnings = audit.count("error"), audit.count("warning")
    counts = f"{pluralize(errors, 'error')}, {pluralize(warnings, 'warning')}"
    part = "" if audit.audited_rows is None else f", of which {audit.audited_rows:,} were sampled"
    return f"{audit.name}: {counts} in {rows} rows{features}{part}"


def _plan_json(plan: RunPlan) -> dict[str, Any]:
    from trainer.tracking.trackers import tracker_locations

    dataset, task = plan.dataset, plan.task
    return {
        "name": plan.config.name,
        "task": task.name,
        "head": task.head,
        "loss": task.loss.name,
        "target_scale": _target_scales(plan),
        "metrics": list(task.metrics),
        "class_weights": _class_weights(plan),
        "rows": {name: dataset.rows(name) for name in SPLITS},
        "classes": {name: dataset.classes(name) for name in SPLITS if dataset.rows(name)},
        "dropped": dataset.dropped,
        "features": list(dataset.preprocessing.feature_names),
        "inputs": [asdict(spec) for spec in dataset.preprocessing.inputs],
        "random_changes": _random_changes(plan),
        "layers": [
            {
                "name": layer.name,
                "output_shape": None if layer.output_shape is None else list(layer.output_shape),
                "parameters": layer.parameters,
            }
            for layer in plan.layers
        ],
        "parameters": plan.parameters,
        "bytes": {
            "data": plan.data_bytes,
            "weights": plan.memory.weights if plan.memory else None,
            "gradients": plan.memory.gradients if plan.memory else None,
            "optimizer": plan.memory.optimizer if plan.memory else None,
            "activations": plan.memory.activations if plan.memory else None,
            "augmentation": plan.memory.augmentation if plan.memory else None,
        },
        "engine": {"name": plan.engine.engine, "reason": plan.engine.reason},
        "steps_per_epoch": plan.steps_per_epoch,
        "steps": plan.total_steps,
        "tracked": tracker_locations(plan.config),
        "warnings": list(plan.warnings),
        "notes": [*plan.notes, *plan.dataset.hints],
    }


def _class_weights(plan: RunPlan) -> dict[str, float] | None:
    weights = plan.task.class_weights(plan.config.fit.class_weight)
    if weights is None:
        return None
    return dict(zip(plan.task.target.classes, map(float, weights), strict=True))


def _weight_lines(plan: RunPlan) -> list[str]:
    from trainer.report.decisions import class_weight_text

    target = plan.task.target
    text = class_weight_text(plan.config.fit.class_weight, target.classes, target.class_counts)
    return [f"class weights: {text}"] if text else []


def _random_changes(plan: RunPlan) -> list[str]:
    """Return the kinds of random changes of training images, in order."""
    kinds = [entry.settings.kind for entry in plan.config.model.augment]
    return kinds if plan.random_crop is None else ["random_crop", *kinds]


def _target_scales(plan: RunPlan) -> dict[str, str]:
    """Return the scale of each target column of a regression; empty for other tasks."""
    from trainer.config.resolve import resolved_target_scale

    target = plan.task.target
    if not plan.task.kind.rules.has_numbers:
        return {}
    return {name: resolved_target_scale(plan.config, target.task, name) for name in target.columns}


def _lines(plan: RunPlan) -> list[str]:
    from trainer.report.decisions import MetricLabels
    from trainer.tracking.trackers import tracker_locations

    target = plan.task.target
    epochs = -(-plan.total_steps // plan.steps_per_epoch)
    changes = _random_changes(plan)
    labels = MetricLabels(target.task)
    metrics = ", ".join(map(labels.display_name, plan.task.metrics))
    scales = _target_scales(plan)
    if len(set(scales.values())) == 1:
        scaled = f", target scale {next(iter(scales.values()))}"
    else:
        scaled = "".join(f", target scale of {name} {scale}" for name, scale in scales.items())
    lines = [
        f"{plan.config.name}: {target.task} of {', '.join(target.columns)} ({target.reason})",
        f"head {plan.task.head}, loss {plan.task.loss.name}{scaled}, metrics {metrics}",
        *_weight_lines(plan),
        "",
        *_column_lines(plan),
        "",
        *_split_lines(plan),
        "",
        *_layer_lines(plan),
        "",
        *([f"training images change at random: {', '.join(changes)}"] if changes else []),
        f"{pluralize(epochs, 'epoch')} of {pluralize(plan.steps_per_epoch, 'step')}: "
        f"{pluralize(plan.total_steps, 'step')}",
    ]
    sizes = [("data", plan.data_bytes)]
    if plan.memory is not None:
        memory = plan.memory
        sizes += [
            ("weights", memory.weights),
            ("gradients", memory.gradients),
            ("optimizer", memory.optimizer),
            ("activations", memory.activations),
            *([("augmentation", memory.augmentation)] if memory.augmentation else []),
        ]
    lines.append(f"engine: {plan.engine.engine} ({plan.engine.reason})")
    lines += [
        f"tracked by {name}: {cell(location)}"
        for name, location in tracker_locations(plan.config).items()
    ]
    lines.append("memory: " + ", ".join(f"{name} {format_bytes(size)}" for name, size in sizes))
    return lines


def _network_lines(fit: Fit, networks: int) -> list[str]:
    """Return the number of models if there are several: 5 folds × 4 repeats: 20 networks."""
    if networks == 1:
        return []
    factors = [] if fit.folds is None else [pluralize(fit.folds, "fold")]
    if fit.repeats > 1:
        factors.append(pluralize(fit.repeats, "repeat"))
    return [f"{' × '.join(factors)}: {pluralize(networks, 'network')}"]


def _column_lines(plan: RunPlan) -> list[str]:
    columns = plan.dataset.preprocessing.columns
    terms = {column.name: column.terms for column in plan.dataset.preprocessing.texts}
    features = [terms.get(column.name, column.features) for column in columns[:_SHOWN_COLUMNS]]
    rows = [
        [column.name, column.kind, f"{len(names):,}", _shortened(names)]
        for column, names in zip(columns, features, strict=False)
    ]
    lines = _table(["column", "kind", "features", ""], rows, right={2})
    if len(columns) > _SHOWN_COLUMNS:
        lines.append(f"… and {len(columns) - _SHOWN_COLUMNS:,} more columns")
    inputs = inputs_text(plan.dataset.preprocessing.inputs)
    return [*lines, f"{pluralize(len(columns), 'column')}, {inputs}"]


def _split_lines(plan: RunPlan) -> list[str]:
    dataset = plan.dataset
    is_multilabel = plan.task.kind.rules.has_several_labels
    return split_lines(
        {name: dataset.rows(name) for name in SPLITS},
        {name: dataset.classes(name) for name in SPLITS},
        dataset.dropped,
        noun="label" if is_multilabel else "class",
    )


def _layer_lines(plan: RunPlan) -> list[str]:
    rows = [
        [
            layer.name,
            "?" if layer.output_shape is None else " × ".join(map(str, layer.output_shape)),
            "?" if layer.parameters is None else f"{layer.parameters:,}",
        ]
        for layer in plan.layers
    ]
    total = "?" if plan.parameters is None else f"{plan.parameters:,}"
    rows.append(["total" if plan.trained_layers == plan.layers else "trained", "", total])
    return _table(["layer", "output", "parameters"], rows, right={1, 2})


def _table(columns: list[str], rows: list[list[str]], right: set[int]) -> list[str]:
    cells = tuple(tuple(map(cell, row)) for row in rows)
    table = Table("", tuple(map(cell, columns)), cells, frozenset(right))
    return table_lines(table, console.result_columns())


def _shortened(names: tuple[str, ...]) -> str:
    text = ", ".join(names[:_SHOWN_FEATURES])
    return text if len(names) <= _SHOWN_FEATURES else f"{text}, …"
