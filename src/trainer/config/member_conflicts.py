"""Conflicts of `data.split.fold`, `fit.folds` and `fit.repeats` with other settings."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.data import NamedSources
from trainer.config.schema import Config


def member_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield settings that conflict with folds or repeats."""
    split, fit = config.data.split, config.fit
    if split.fold is not None and fit.folds is not None:
        yield conflict(
            "fit.folds",
            "either one fold or all of them",
            f"data.split.fold: {split.fold} and fit.folds: {fit.folds}",
            "remove one of the two",
            "data.split.fold",
        )
    elif split.fold is not None:
        yield from _fold_conflicts(config, "data.split.fold")
    elif fit.folds is not None:
        yield from _fold_conflicts(config, "fit.folds")
    if split.train_on_validation and fit.folds is not None:
        yield conflict(
            "data.split.train_on_validation",
            "no folds with train_on_validation: all models would have the same training rows",
            f"fit.folds: {fit.folds}",
            "set fit.repeats instead of fit.folds, or remove train_on_validation",
            "fit.folds",
        )
    for name in ("repeats", "folds"):
        if config.runtime.engine == "streaming" and differs_from_default(fit, name):
            yield conflict(
                f"fit.{name}",
                "one model with streaming",
                f"{getattr(fit, name)} {name}",
                "train the models separately, with data.split.seed and data.split.fold, "
                "or set runtime.engine: resident",
                "runtime.engine",
            )


def _fold_conflicts(config: Config, key: str) -> Iterator[Conflict]:
    data = config.data
    if data.split.by == "column":
        yield conflict(
            key,
            "no folds with data.split.by: column",
            "data.split.by: column",
            f"split by another method, or remove {key}",
            "data.split.by",
        )
    elif isinstance(data.source, NamedSources) and data.source.validation is not None:
        yield conflict(
            key,
            "no folds, as data.source lists the files of the validation rows",
            "data.source.validation",
            f"list them in data.source.train, or remove {key}",
            "data.source",
        )
