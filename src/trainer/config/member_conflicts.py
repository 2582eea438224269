"""Contradictions of folds and repeats: of one fold (`data.split.fold`) and of many (`fit.folds`)."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.data import NamedSources
from trainer.config.schema import Config


def member_conflicts(config: Config) -> Iterator[Conflict]:
    """What folds and repeats exclude."""
    split, fit = config.data.split, config.fit
    if split.fold is not None and fit.folds is not None:
        yield conflict(
            "fit.folds",
            "either one fold or all of them",
            f"data.split.fold: {split.fold} and fit.folds: {fit.folds}",
            "take one of the two out",
            "data.split.fold",
        )
    elif split.fold is not None:
        yield from _fold_conflicts(config, "data.split.fold")
    elif fit.folds is not None:
        yield from _fold_conflicts(config, "fit.folds")
    if split.train_on_validation and fit.folds is not None:
        yield conflict(
            "data.split.train_on_validation",
            "no folds where the validation rows are trained on: all members would have the same rows",
            f"fit.folds: {fit.folds}",
            "set fit.repeats in place of fit.folds, or take train_on_validation out",
            "fit.folds",
        )
    for name in ("repeats", "folds"):
        if config.runtime.engine == "streaming" and differs_from_default(fit, name):
            yield conflict(
                f"fit.{name}",
                "one network where the rows are streamed",
                f"{getattr(fit, name)} {name}",
                "train them one by one, with data.split.seed and data.split.fold, "
                "or set runtime.engine: resident",
                "runtime.engine",
            )


def _fold_conflicts(config: Config, key: str) -> Iterator[Conflict]:
    data = config.data
    if data.split.by == "column":
        yield conflict(
            key,
            "no folds where a column says which rows validate",
            "data.split.by: column",
            f"split another way, or take {key} out",
            "data.split.by",
        )
    elif isinstance(data.source, NamedSources) and data.source.validation is not None:
        yield conflict(
            key,
            "no folds where data.source names the files of the validation rows",
            "data.source.validation",
            f"name them in data.source.train, or take {key} out",
            "data.source",
        )
