"""Settings that are valid individually but conflict with each other.

`find_conflicts` needs the config alone, `task_conflicts` also the values of the target. A setting
counts as set only if it differs from its default, because a resolved config, in which all defaults are
written out, must not have conflicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.config.column_conflicts import column_conflicts
from trainer.config.compress import compress_conflicts
from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.data import class_text
from trainer.config.data_conflicts import data_conflicts
from trainer.config.evaluate_conflicts import evaluate_conflicts
from trainer.config.generation import generates
from trainer.config.generation_conflicts import generation_conflicts
from trainer.config.images import image_conflicts
from trainer.config.loss_conflicts import head_conflicts, loss_conflicts, target_scale_conflicts
from trainer.config.member_conflicts import member_conflicts
from trainer.config.metrics import METRICS
from trainer.config.model import HeadKind
from trainer.config.model_conflicts import (
    augment_conflicts,
    network_conflicts,
    optimizer_conflicts,
)
from trainer.config.pretrained import pretrained_conflicts
from trainer.config.pseudonyms import pseudonym_conflicts
from trainer.config.resolve import (
    can_have_validation,
    monitored_metrics,
    resolved_head,
    resolved_metrics,
    uses_folds,
    validation_fix,
)
from trainer.config.schema import Config
from trainer.config.streaming_conflicts import streaming_conflicts
from trainer.config.sweep_conflicts import sweep_conflicts
from trainer.config.task_rules import TASK_RULES
from trainer.config.text import text_conflicts
from trainer.config.tokens import token_conflicts
from trainer.config.tracking_conflicts import tracking_conflicts
from trainer.config.translation_conflicts import translation_conflicts
from trainer.errors import Problem, did_you_mean
from trainer.task_names import TaskName


def find_conflicts(config: Config) -> list[Conflict]:
    """Return the conflicts that do not depend on the data, each with all settings it concerns."""
    if generates(config.data):
        return [
            *data_conflicts(config.data, folded=uses_folds(config)),
            *pseudonym_conflicts(config.data),
            *image_conflicts(config.data),
            *_fit_conflicts(config),
            *tracking_conflicts(config),
            *generation_conflicts(config),
            *sweep_conflicts(config, find_conflicts),
        ]
    return [
        *data_conflicts(config.data, folded=uses_folds(config)),
        *member_conflicts(config),
        *column_conflicts(config.data),
        *pseudonym_conflicts(config.data),
        *image_conflicts(config.data),
        *text_conflicts(config.data),
        *token_conflicts(config.data),
        *network_conflicts(config.model),
        *augment_conflicts(config),
        *pretrained_conflicts(config),
        *optimizer_conflicts(config.optimizer),
        *loss_conflicts(config),
        *target_scale_conflicts(config.data),
        *_fit_conflicts(config),
        *compress_conflicts(config),
        *_monitor_conflicts(config),
        *_configured_task_conflicts(config),
        *(streaming_conflicts(config) if config.runtime.engine == "streaming" else ()),
        *tracking_conflicts(config),
        *translation_conflicts(config),
        *generation_conflicts(config),
        *sweep_conflicts(config, find_conflicts),
    ]


def task_conflicts(
    config: Config, task: TaskName, head: HeadKind, classes: Sequence[str], has_validation: bool
) -> list[Problem]:
    """Return conflicts with the target or the splits.

    Args:
        config: A config for which `find_conflicts` finds nothing.
        task: The task of the target.
        head: The resolved head.
        classes: The classes of a binary or multiclass target, as text; otherwise empty.
        has_validation: Whether there are validation rows.
    """
    conflicts = [
        *head_conflicts(config, task, head),
        *_task_conflicts(config, task),
        *_class_conflicts(config, task, classes),
        *_metric_conflicts(config, resolved_metrics(config, task), has_validation),
        *evaluate_conflicts(config, TASK_RULES[task], has_validation),
    ]
    return [conflict.problem for conflict in conflicts]


def _fit_conflicts(config: Config) -> Iterator[Conflict]:
    fit = config.fit
    if fit.epochs is not None and fit.steps is not None:
        yield conflict(
            "fit.steps",
            "either epochs or steps",
            f"epochs: {fit.epochs} and steps: {fit.steps}",
            "remove one of the two",
            "fit.epochs",
        )
    stop = fit.early_stopping
    if stop is not None and fit.epochs is not None and stop.start_epoch > fit.epochs:
        yield conflict(
            "fit.early_stopping.start_epoch",
            f"an epoch of training: at most {fit.epochs}",
            str(stop.start_epoch),
            "lower it, or increase fit.epochs",
            "fit.epochs",
        )
    plateau = fit.reduce_on_plateau
    rate = config.optimizer.learning_rate
    if plateau is not None and plateau.min_learning_rate >= rate:
        yield conflict(
            "fit.reduce_on_plateau.min_learning_rate",
            f"less than optimizer.learning_rate, {rate:g}",
            f"{plateau.min_learning_rate:g}",
            "lower it: the learning rate could never be reduced",
            "optimizer.learning_rate",
        )
    if plateau is not None and config.optimizer.schedule is not None:
        yield conflict(
            "fit.reduce_on_plateau",
            "either a schedule or reduce_on_plateau",
            "both: each would override the other's learning rate",
            "remove optimizer.schedule or fit.reduce_on_plateau",
            "optimizer.schedule",
        )
    for key in ("max_rollbacks", "factor"):
        if fit.on_nonfinite.action == "stop" and differs_from_default(fit.on_nonfinite, key):
            yield conflict(
                f"fit.on_nonfinite.{key}",
                f"{key} only with action: rollback",
                "action: stop, which ignores it",
                f"set fit.on_nonfinite.action=rollback, or remove {key}",
                "fit.on_nonfinite.action",
            )


def _monitor_conflicts(config: Config) -> Iterator[Conflict]:
    data = config.data
    metrics: Sequence[str] = list(METRICS)
    if config.metrics != "auto":
        metrics = config.metrics
    elif data.task != "auto":
        metrics = TASK_RULES[data.task].metrics
    yield from _metric_conflicts(config, metrics, can_have_validation(config))


def _metric_conflicts(
    config: Config, metrics: Sequence[str], has_validation: bool
) -> Iterator[Conflict]:
    known = ["loss", *metrics]
    available = [*known, *(f"val_{name}" for name in known)] if has_validation else known
    for key, metric in monitored_metrics(config.fit):
        base = metric.removeprefix("val_")
        if base not in known:
            otherwise = f"available: {', '.join(known)}"
            if base in METRICS:
                otherwise = f"add {base} to metrics"
            elif len(known) > 10:
                otherwise = f"available: {', '.join(known)}"
            fix = otherwise if base in METRICS else did_you_mean(metric, available, otherwise)
            expected = "a computed metric"
            yield conflict(key, expected, f"'{metric}'", fix, "metrics", "data.task")
        elif base != metric and not has_validation:
            yield conflict(
                key,
                "a training metric, as there are no validation rows",
                f"'{metric}'",
                f"{validation_fix(config)}, or monitor: {base}",
                "data.split.validation",
                "data.source",
            )


def _configured_task_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield conflicts with a task that is set in the config."""
    task = config.data.task
    if task == "auto":
        return
    yield from head_conflicts(config, task, resolved_head(config, task))
    yield from _task_conflicts(config, task)


def _task_conflicts(config: Config, task: TaskName) -> Iterator[Conflict]:
    description = TASK_RULES[task].description
    if config.metrics != "auto":
        for index, name in enumerate(config.metrics):
            if task not in METRICS[name].tasks:
                fitting = [other for other, info in METRICS.items() if task in info.tasks]
                expected = f"a metric for {description}: {', '.join(fitting)}"
                fix = "remove it, or change it"
                yield conflict(f"metrics.{index}", expected, name, fix, "data.task")
    settings, evaluate = config.data, config.evaluate
    has_interval = differs_from_default(evaluate, "prediction_interval")
    only_for = [
        ("data.positive", settings.positive is not None, "a positive class", "has_positive_class"),
        ("data.target_scale", settings.target_scale != "auto", "a target scale", "has_numbers"),
        ("evaluate.threshold", differs_from_default(evaluate, "threshold"), "a threshold",
         "has_threshold"),
        ("evaluate.calibrate", evaluate.calibrate, "calibration", "has_classes"),
        ("evaluate.prediction_interval", has_interval, "a prediction interval", "has_numbers"),
        ("fit.class_weight", config.fit.class_weight is not None, "class weights", "is_exclusive"),
        ("data.split.by", settings.split.by == "stratified", "a stratified split", "has_classes"),
    ]  # fmt: skip
    for key, is_set, setting_noun, rule in only_for:
        if is_set and not getattr(TASK_RULES[task], rule):
            others = [rules.description for rules in TASK_RULES.values() if getattr(rules, rule)]
            tasks = " or ".join(others)
            expected = f"{setting_noun} only for {tasks}"
            yield conflict(key, expected, f"a target of {description}", "remove it", "data.task")


def _class_conflicts(config: Config, task: TaskName, classes: Sequence[str]) -> Iterator[Conflict]:
    rules = TASK_RULES[task]
    if not rules.is_exclusive:
        return
    listed = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
    positive = config.data.positive
    if rules.has_positive_class and positive is not None and not is_class(positive, classes):
        fix = did_you_mean(str(positive), list(classes), "choose one of these classes")
        expected = f"a class of the target: {listed}"
        yield conflict("data.positive", expected, f"'{class_text(positive)}'", fix)
    weights = config.fit.class_weight
    if isinstance(weights, dict):
        for name in weights:
            if name not in classes:
                fix = did_you_mean(name, list(classes), "choose one of these classes")
                expected = f"a class of the target: {listed}"
                yield conflict(f"fit.class_weight.{name}", expected, f"'{name}'", fix)
        missing = [name for name in classes if name not in weights]
        if missing and all(name in classes for name in weights):
            expected = "a weight for every class"
            found = f"none for {', '.join(missing[:20])}"
            yield conflict("fit.class_weight", expected, found, "add it; 1 is neutral")
    for index, name in enumerate(config.metrics if config.metrics != "auto" else []):
        count = {"top_3_accuracy": 3, "top_5_accuracy": 5}.get(name)
        if count is not None and rules.predicts_most_likely and len(classes) <= count:
            expected = f"more than {count} classes for {name}"
            fix = "remove it: it would always be 1"
            yield conflict(f"metrics.{index}", expected, f"{len(classes)}", fix)


def is_class(value: str | float, classes: Sequence[str]) -> bool:
    """Return whether a class in the config is a class of the target, which are text."""
    if class_text(value) in classes or str(value) in classes:
        return True
    # Classes of a fitted target never differ in case only, unless case matters.
    if class_text(value).casefold() in {name.casefold() for name in classes}:
        return True
    return not isinstance(value, bool | str) and any(_number(name) == value for name in classes)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
