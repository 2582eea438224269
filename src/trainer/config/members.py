"""Repeats and folds: from one config to those of the single networks it asks for.

    repeats 2, folds 3      networks 1 2 3 (repeat 1, folds 1/3 2/3 3/3), 4 5 6 (repeat 2, the same)

All members have the same test rows, and the members of one fold the same validation rows: what splits
and folds draw with is one for all.

Owns: how many networks there are, and what each one's config is. Does not own: training them.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from trainer.config.resolve import resolved_split_seed
from trainer.config.schema import Config


@dataclass(frozen=True)
class Member:
    """One network of those that a config asks for.

    Attributes:
        number: From 1; repeat after repeat, in each fold after fold.
        repeat: From 1.
        fold: From 1; None without folds.
        config: What trains it alone: without repeats and folds, with a seed and a fold of its own.
    """

    number: int
    repeat: int
    fold: int | None
    config: Config


def member_count(config: Config) -> int:
    """How many networks a config asks for."""
    return config.fit.repeats * (config.fit.folds or 1)


def member_configs(config: Config) -> tuple[Member, ...]:
    """The networks that a config asks for; the config itself where it asks for one.

    `data.split.seed` is the same in all, so that `trainer fit` on one of the configs repeats that
    member whatever its `seed`.
    """
    if member_count(config) == 1:
        return (Member(1, 1, None, config),)
    folds = config.fit.folds
    numbers = [None] if folds is None else range(1, folds + 1)
    places = [(repeat, fold) for repeat in range(1, config.fit.repeats + 1) for fold in numbers]
    return tuple(
        Member(number, repeat, fold, _single(config, repeat, fold))
        for number, (repeat, fold) in enumerate(places, start=1)
    )


def member_seed(seed: int, repeat: int) -> int:
    """The seed of a repeat, counted from 1: the first has `seed` itself, the others one in [0, 2³¹)."""
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
