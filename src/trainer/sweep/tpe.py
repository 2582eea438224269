"""The tree-structured Parzen estimator, by Optuna, which is an extra and imported here alone.

Asked in batches: trials that are not told yet count as bad ones near by (`constant_liar`), so that a
batch spreads. A search is rebuilt by asking and telling the same again.

Owns: dimensions as Optuna's distributions, how a trial's end is told. Does not own: the algorithm.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, assert_never

from trainer.config.domains import Choices, Dimension, Floats, Integers
from trainer.errors import ConfigError, Problem
from trainer.sweep.halving import Direction
from trainer.sweep.space import Space
from trainer.sweep.trials import TrialEnded

if TYPE_CHECKING:
    from optuna import Trial as OptunaTrial


class TpeSearch:
    """A `Search` by Optuna's TPESampler, in memory.

    Raises:
        ConfigError: Optuna is not installed.
    """

    def __init__(self, space: Space, seed: int, direction: Direction) -> None:
        self._optuna = _optuna()
        with warnings.catch_warnings():
            # constant_liar is called experimental.
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            sampler = self._optuna.samplers.TPESampler(seed=seed % 2**32, constant_liar=True)
        self._study = self._optuna.create_study(
            sampler=sampler, direction="maximize" if direction == "higher" else "minimize"
        )
        self._space = space
        self._dimensions = space.by_dependence()
        self._asked: dict[int, OptunaTrial] = {}

    def ask(self, count: int) -> list[dict[str, Any]]:
        return [self._next() for _ in range(count)]

    def _next(self) -> dict[str, Any]:
        trial = self._study.ask()
        self._asked[trial.number] = trial
        chosen: dict[str, Any] = {}
        for dimension in self._dimensions:
            if self._space.is_wanted(dimension, chosen):
                chosen.update(dimension.settings(_suggested(trial, dimension)))
        return self._space.active(chosen)

    def tell(self, ended: Sequence[TrialEnded]) -> None:
        states = self._optuna.trial.TrialState
        for each in ended:
            trial = self._asked.pop(each.number)
            if each.status == "failed" or not each.has_objective:
                self._study.tell(trial, state=states.FAIL)
            elif each.status == "finished":
                self._study.tell(trial, each.objective)
            else:  # not to be compared with trials that were trained for longer
                trial.report(each.objective, step=each.epochs)
                self._study.tell(trial, state=states.PRUNED)


def _suggested(trial: OptunaTrial, dimension: Dimension) -> Any:
    name = ", ".join(dimension.keys)
    match dimension.domain:
        case Choices(values):
            # Optuna's choices are scalars; ours may be lists, so it is given their places.
            return values[trial.suggest_categorical(name, range(len(values)))]
        case Integers(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case Floats(low, high, log):
            return trial.suggest_float(name, low, high, log=log)
        case _:
            assert_never(dimension.domain)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            Problem(
                where="",
                expected="optuna, for sweep.search: tpe",
                found="no such package",
                fix="pip install 'trainer[sweep]', or set sweep.search: sobol",
                key="sweep.search",
            )
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
