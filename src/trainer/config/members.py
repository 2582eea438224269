"""Repeats and folds: the configs of the individual models.

    repeats 2, folds 3      models 1 2 3 (repeat 1, folds 1/3 2/3 3/3), 4 5 6 (repeat 2, the same)

All members have the same test rows, and the members of a fold have the same validation rows, because
they share the seed of the splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from trainer.config.resolve import resolved_split_seed
from trainer.config.schema import Config


@dataclass(frozen=True)
class Member:
    """One of the models of a config with repeats or folds.

    Attributes:
        number: Its number from 1, ordered by repeat, then by fold.
        repeat: Its repeat, from 1.
        fold: Its fold, from 1; None without folds.
        config: The config to train this model alone: without repeats and folds, with its seed and fold.
    """

    number: int
    repeat: int
    fold: int | None
    config: Config


def member_count(config: Config) -> int:
    """Return the number of models of a config."""
    return config.fit.repeats * (config.fit.folds or 1)


def member_configs(config: Config) -> tuple[Member, ...]:
    """Return the models of a config; with one model, its config is the config itself.

    All have the same `data.split.seed`, so that `trainer fit` on one of the configs reproduces that
    member for any `seed`.
    """
    if member_count(config) == 1:
        return (Member(1, 1, None, config),)
    folds = config.fit.folds
    numbers = [None] if folds is None else range(1, folds + 1)
    pairs = [(repeat, fold) for repeat in range(1, config.fit.repeats + 1) for fold in numbers]
    return tuple(
        Member(number, repeat, fold, _single(config, repeat, fold))
        for number, (repeat, fold) in enumerate(pairs, start=1)
    )


def member_seed(seed: int, repeat: int) -> int:
    """Return the seed of a repeat, counted from 1: `seed` for the first, others are in [0, 2³¹)."""
    if repeat == 1:
        return seed
    digest = sha256(f"{seed}/repeat/{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFF_FFFF


def _single(config: Config, repeat: int, fold: int | None) -> Config:
    split = config.data.split.model_copy(
        update={
            "seed": resolved_split_seed(config),
            **({} if fold is None else {"fold": f"{fold}/{config.fit.folds}"}),
        }
    )
    return config.model_copy(
        update={
            "seed": member_seed(config.seed, repeat),
            "data": config.data.model_copy(update={"split": split}),
            "fit": config.fit.model_copy(update={"repeats": 1, "folds": None}),
        }
    )
