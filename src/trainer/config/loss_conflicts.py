"""Conflicts between heads, losses, target scales and the task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.data import Data
from trainer.config.losses import LOSSES, LossSetting
from trainer.config.model import POSITIVE_HEADS, HeadKind
from trainer.config.nodes import join_key
from trainer.config.resolve import ResolvedTargetScale, resolved_loss, resolved_target_scale
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.errors import did_you_mean
from trainer.task_names import TaskName


def loss_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield settings that the loss ignores, and a loss that does not fit the configured head."""
    loss = config.loss
    for key in get_args(LossSetting):
        if key not in loss.kind.settings and differs_from_default(loss, key):
            losses = [
                name for name, kind in LOSSES.items() if key in kind.settings and name != "auto"
            ]
            yield conflict(
                f"loss.{key}",
                f"{key} only with {_join_with_or(losses)}",
                f"loss.name: {loss.name}, which ignores it",
                f"set loss.name, or remove {key}",
                "loss.name",
            )
    increasing = sorted(set(loss.quantiles))
    if loss.quantiles != increasing:
        fix = f"set loss.quantiles: {increasing}"
        yield conflict("loss.quantiles", "increasing numbers", f"{loss.quantiles}", fix)
    if config.model.head != "auto" and config.data.task == "auto":
        yield from _loss_head_conflicts(config, config.model.head)


def head_conflicts(config: Config, task: TaskName, head: HeadKind) -> Iterator[Conflict]:
    """Yield a head that does not fit the task, and a loss or target scale that does not fit the head."""
    rules = TASK_RULES[task]
    if head not in rules.heads:
        yield conflict(
            "model.head",
            f"{_join_with_or(rules.heads)} for {rules.description}",
            head,
            "set model.head: auto, or data.task",
            "data.task",
        )
        return
    conflicts = list(_loss_head_conflicts(config, head))
    yield from conflicts
    if rules.has_numbers and not conflicts:
        yield from _scale_conflicts(config, task, head)


def target_scale_conflicts(data: Data) -> Iterator[Conflict]:
    """Yield scales of columns that are not targets."""
    if not isinstance(data.target_scale, dict):
        return
    targets = [data.target] if isinstance(data.target, str) else data.target
    for name in data.target_scale:
        if name not in targets:
            yield conflict(
                join_key(("data", "target_scale", name)),
                "a column of data.target",
                f"'{name}'",
                did_you_mean(name, targets, "remove it"),
                "data.target",
            )


def _loss_head_conflicts(config: Config, head: HeadKind) -> Iterator[Conflict]:
    if head in config.loss.kind.heads:
        return
    fitting = [name for name, kind in LOSSES.items() if head in kind.heads]
    automatic = config.model_copy(update={"loss": Config.model_fields["loss"].default})
    other_head = ""
    if config.loss.kind.is_for_counts:
        # With `auto`, the head is chosen to fit the loss.
        other_head = "model.head: auto, or "
    yield conflict(
        "loss",
        f"a loss that fits the {head} head: {', '.join(fitting)}",
        config.loss.name,
        f"set {other_head}loss: {resolved_loss(automatic, head).name}",
        "model.head",
        "loss.name",
    )


def _scale_conflicts(config: Config, task: TaskName, head: HeadKind) -> Iterator[Conflict]:
    loss = config.loss
    if loss.kind.needs_unscaled_target:
        reason = f"loss: {loss.name}, which needs an unscaled target"
    elif head == "sigmoid":
        reason = "a sigmoid head, which predicts numbers in [0, 1]"
    elif head in POSITIVE_HEADS:
        reason = (
            f"a{'n' if head == 'exponential' else ''} {head} head, which predicts numbers above 0"
        )
    else:
        return
    for key, scale in _configured_scales(config, task):
        if scale == "none":
            continue
        fix = "set data.target_scale: auto"
        if loss.kind.needs_unscaled_target:
            fix += ", or loss: mean_absolute_error"
            fix += " and model.head: auto" if config.model.head in POSITIVE_HEADS else ""
        else:
            fix += ", or model.head: linear"
        yield conflict(key, f"none (or auto) with {reason}", scale, fix, "model.head", "loss.name")


def _configured_scales(config: Config, task: TaskName) -> Iterator[tuple[str, ResolvedTargetScale]]:
    """Yield the key and value of each configured target scale."""
    scale = config.data.target_scale
    if not isinstance(scale, dict):
        yield "data.target_scale", resolved_target_scale(config, task)
        return
    for name in scale:
        yield (
            join_key(("data", "target_scale", name)),
            resolved_target_scale(config, task, name),
        )


def _join_with_or(parts: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
