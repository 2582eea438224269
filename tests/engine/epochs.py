"""Epochs of a network that is trained on its own."""

from collections.abc import Callable, Iterator

from trainer.engine.events import EpochEnd, GroupEpochEnd
from trainer.engine.fit import fit
from trainer.engine.training_group import TrainingGroup


def fit_epochs(
    group: TrainingGroup, interrupted: Callable[[], str | None] = lambda: None
) -> Iterator[EpochEnd]:
    """Train and yield the end of each epoch of the only network."""
    for event in fit(group, interrupted):
        if isinstance(event, GroupEpochEnd):
            yield from event.results.values()
