"""The run that training starts from (`fit.warm_start`): which of its weights are copied.

Importing this module does not import TensorFlow; `load_source` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.schema import Config
from trainer.data.preprocessing import Preprocessing
from trainer.errors import ConfigError, Problem, RunError, TrainerError
from trainer.models.summary import LayerSummary, layer_names, summarize_layers
from trainer.models.warm_start import LayerMatch, match_layers
from trainer.prediction.trained_runs import (
    TrainedRun,
    load_network,
    network_shape,
    open_trained,
)
from trainer.runs.checkpoints import read_checkpoint
from trainer.runs.manifest import InitialWeights
from trainer.runs.opening import open_run

if TYPE_CHECKING:
    import keras

_KEY = "fit.warm_start"
_PARTIAL = "set fit.warm_start.partial: true to start it with new weights"


@dataclass(frozen=True, slots=True)
class WarmStart:
    """The weights that a network starts with.

    Attributes:
        source: The run that they come from.
        sha256: Hash of the weights of its checkpoint.
        layers: The layers of the new network that have weights.
        warnings: Warnings for the user.
    """

    source: TrainedRun
    sha256: str
    layers: tuple[LayerMatch, ...]
    warnings: tuple[str, ...]

    @property
    def record(self) -> InitialWeights:
        """The entry of the manifest."""
        checkpoint = self.source.run.checkpoint(self.source.checkpoint)
        return InitialWeights(_KEY, str(checkpoint), self.sha256)

    def load_source(self, *, allow_custom: bool) -> keras.Model:
        """Load the network of the run.

        Raises:
            RunError: Its checkpoint is damaged, or has changed since it was planned with.
        """
        from trainer.models.weights import weights_sha256

        network = load_network(self.source, allow_custom=allow_custom)
        if weights_sha256(network) != self.sha256:
            where = str(self.source.run.checkpoint(self.source.checkpoint))
            found, fix = "other weights: it is still being trained", "wait until the run has ended"
            raise RunError(Problem(where, "the weights read before", found, fix, _KEY))
        return network

    def copy_weights(self, network: keras.Model, source: keras.Model) -> None:
        """Copy the weights, moving statistics included, to a network before its optimizer is built.

        Raises:
            ConfigError: A layer whose shapes were unknown does not fit.
        """
        for match in self.layers:
            if not match.fits:
                continue
            layer, other = network.get_layer(match.name), source.get_layer(match.name)
            # Adapters start as new: the weights of a run include those that it has trained.
            weights = [item for item in layer.weights if not item.name.startswith("lora_")]
            shapes, found = (
                [tuple(weight.shape) for weight in part] for part in (other.weights, weights)
            )
            if shapes != found:
                fix = "change the layer, or name another run"
                expected = f"weights {shapes} in '{match.name}', as in the run"
                raise ConfigError(Problem("", expected, f"{found}", fix, _KEY))
            for weight, value in zip(weights, other.get_weights(), strict=True):
                weight.assign(value)


def plan_warm_start(
    config: Config, layers: Sequence[LayerSummary], preprocessing: Preprocessing
) -> WarmStart | None:
    """Return what `fit.warm_start` copies, or None if it is not set.

    Args:
        config: The config.
        layers: The layers of the new network.
        preprocessing: The preprocessing of the new run.

    Raises:
        RunError: The run does not exist or is damaged.
        ConfigError: Layers do not fit; lists all of them.
    """
    settings = config.fit.warm_start
    if settings is None:
        return None
    path = Path(settings.run)
    try:
        source = _open(path)
        checkpoint = read_checkpoint(source.run.checkpoint(source.checkpoint))
    except TrainerError as error:
        raise type(error)(
            replace(problem, where="", key=_KEY, found=f"{problem.found} at {problem.where}")
            if problem.where and not problem.key
            else problem
            for problem in error.problems
        ) from error
    others = summarize_layers(source.loaded.config.model, network_shape(source))
    matches = match_layers(layers, others)
    problems = [
        _problem(config, match, path)
        for match in matches
        if not (match.fits or match.may_differ or settings.partial)
    ]
    if not problems and not any(match.fits for match in matches):
        found = "; ".join(f"{match.name}: {match.found}" for match in matches)
        fix = "name a run with the same layers, or remove the setting"
        problems = [Problem("", f"a layer with the weights of one in {path}", found, fix, _KEY)]
    if problems:
        raise ConfigError(problems)
    return WarmStart(
        source,
        str(checkpoint.metadata.get("weights_sha256", "")),
        matches,
        tuple(_input_warnings(preprocessing, source)),
    )


def _open(path: Path) -> TrainedRun:
    opened = open_run(path)
    if opened.checkpoint is None and opened.run.members.is_dir():
        fix = f"name one of them, such as {opened.run.member(1)}"
        raise RunError(Problem(str(path), "a run of one network", "a run of several", fix))
    return open_trained(path)


def _problem(config: Config, match: LayerMatch, path: Path) -> Problem:
    names = layer_names(config.model.layers)
    key = f"model.layers.{names.index(match.name)}" if match.name in names else _KEY
    expected = f"{match.expected}, as in {path}" if match.found != "none" else match.expected
    if match.found == "none":
        expected = f"a layer '{match.name}' in {path}, the run of fit.warm_start"
    return Problem("", expected, match.found, f"change the layer, or {_PARTIAL}", key)


def _input_warnings(preprocessing: Preprocessing, source: TrainedRun) -> list[str]:
    """Return a warning if the first weights belong to other inputs than in the earlier run."""
    ours, theirs = preprocessing.feature_names, source.preprocessing.feature_names
    if ours == theirs:
        return []
    different = [name for name in ours if name not in theirs] or [
        name for name in theirs if name not in ours
    ]
    what = f"such as '{different[0]}'" if different else "in another order"
    return [f"the inputs differ from those of the run in fit.warm_start, {what}"]
