"""The tree-structured Parzen estimator of Optuna, an optional dependency that only this module imports.

Trials are suggested in batches: trials without a result count as bad ones (`constant_liar`), so that the
trials of a batch are spread out. Repeating the calls of `ask` and `tell` restores the state of a search.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, assert_never

from trainer.config.domains import Choices, Dimension, Floats, Integers
from trainer.errors import ConfigError, Problem
from trainer.packages import install_command
from trainer.sweep.halving import Direction
from trainer.sweep.search import Settings, distinct, random_trials
from trainer.sweep.space import Space, settings_key
from trainer.sweep.trials import TrialEnded

if TYPE_CHECKING:
    from optuna import Trial as OptunaTrial

_ATTEMPTS = 50
"""Number of repeats in a row after which a random trial is used."""


class TpeSearch:
    """A `Search` with Optuna's TPESampler, in memory.

    A suggestion that repeats a trial is reported as failed, which the sampler ignores, and another is
    drawn.

    Raises:
        ConfigError: Optuna is not installed.
    """

    def __init__(
        self, space: Space, seed: int, direction: Direction, *, is_distinct: bool = True
    ) -> None:
        self._optuna = _optuna()
        with warnings.catch_warnings():
            # constant_liar is marked experimental.
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            sampler = self._optuna.samplers.TPESampler(seed=seed % 2**32, constant_liar=True)
        self._study = self._optuna.create_study(
            sampler=sampler, direction="maximize" if direction == "higher" else "minimize"
        )
        self._space = space
        self._dimensions = space.in_dependency_order()
        self._pending: dict[int, OptunaTrial] = {}
        self._count = 0
        self._is_distinct, self._seen = is_distinct, set[str]()
        self._random = distinct(random_trials(space, seed), space, self._seen)

    def ask(self, count: int) -> list[dict[str, Any]]:
        trials: list[dict[str, Any]] = []
        for _ in range(count):
            settings = self._next()
            if settings is None:
                break
            trials.append(settings)
        return trials

    def _next(self) -> dict[str, Any] | None:
        for _ in range(_ATTEMPTS):
            trial, settings = self._suggest()
            if not self._is_distinct or settings_key(settings) not in self._seen:
                self._seen.add(settings_key(settings))
                return self._accept(trial, settings)
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        random = next(self._random, None)
        if random is None:
            return None
        self._study.enqueue_trial(self._parameters(random))
        return self._accept(*self._suggest())

    def _suggest(self) -> tuple[OptunaTrial, dict[str, Any]]:
        trial = self._study.ask()
        chosen: dict[str, Any] = {}
        for dimension in self._dimensions:
            if self._space.is_relevant(dimension, chosen):
                chosen.update(dimension.settings(_suggested(trial, dimension)))
        return trial, self._space.active(chosen)

    def _accept(self, trial: OptunaTrial, settings: dict[str, Any]) -> dict[str, Any]:
        self._pending[self._count] = trial
        self._count += 1
        return settings

    def _parameters(self, settings: Settings) -> dict[str, Any]:
        """Return a trial as Optuna's parameters: active dimension → its value, or a choice's index."""
        parameters: dict[str, Any] = {}
        for dimension in self._dimensions:
            values = [settings[key] for key in dimension.keys if key in settings]
            if not values:
                continue
            value: Any = values[0]
            if isinstance(dimension.domain, Choices):
                value = next(
                    index
                    for index, choice in enumerate(dimension.domain.values)
                    if all(
                        key not in settings or settings[key] == part
                        for key, part in dimension.settings(choice).items()
                    )
                )
            parameters[_name(dimension)] = value
        return parameters

    def tell(self, ended: Sequence[TrialEnded]) -> None:
        states = self._optuna.trial.TrialState
        for result in ended:
            trial = self._pending.pop(result.number)
            if result.status == "failed" or not result.has_objective:
                self._study.tell(trial, state=states.FAIL)
            elif result.status == "finished":
                self._study.tell(trial, result.objective)
            else:  # not comparable with trials that were trained for more epochs
                trial.report(result.objective, step=result.epochs)
                self._study.tell(trial, state=states.PRUNED)


def _suggested(trial: OptunaTrial, dimension: Dimension) -> Any:
    name = _name(dimension)
    match dimension.domain:
        case Choices(values):
            # Optuna's choices must be scalars and ours can be lists, so indices are used.
            return values[trial.suggest_categorical(name, range(len(values)))]
        case Integers(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case Floats(low, high, log):
            return trial.suggest_float(name, low, high, log=log)
        case _:
            assert_never(dimension.domain)


def _name(dimension: Dimension) -> str:
    return ", ".join(dimension.keys)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            Problem(
                where="",
                expected="the package optuna to be installed, for sweep.search: tpe",
                found="that it is not",
                fix=f"{install_command('sweep')}, or set sweep.search: sobol",
                key="sweep.search",
            )
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
