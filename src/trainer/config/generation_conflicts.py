"""Conflicts of `data.task: generate`, and of its settings with other tasks."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.generation import NETWORK_NAMES, Discriminator, Generator, generates
from trainer.config.images import image_columns
from trainer.config.layers.components import PrincipalComponents
from trainer.config.layers.custom import Custom
from trainer.config.layers.normalization import BatchNormalization
from trainer.config.metrics import MEASURES
from trainer.config.model_conflicts import optimizer_conflicts
from trainer.config.resolve import monitored_metrics
from trainer.config.schema import Config
from trainer.config.sections import Section
from trainer.errors import did_you_mean

_TASK = "data.task"
_SMOOTHED = ("non_saturating", "least_squares")
_NOT_USED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("model", "optimizer", "loss", "metrics", "compress")),
    (
        "data",
        (
            "positive", "target_separator", "target_scale", "weight", "numeric", "categorical",
            "datetime", "text", "tokens", "target_tokens", "shared_vocabulary", "clean",
        ),
    ),
    (
        "fit",
        (
            "shuffle", "class_weight", "reduce_on_plateau", "callbacks", "warm_start", "repeats",
            "folds",
        ),
    ),
    (
        "evaluate",
        (
            "threshold", "calibrate", "decisions_from", "prediction_interval", "baselines", "slices",
            "importance", "decoding",
        ),
    ),
    ("runtime", ("precision",)),
)  # fmt: skip
"""Settings that a generator and a discriminator do not have."""
_INSTEAD = {
    "model": "set networks.generator.layers and networks.discriminator.layers, and remove it",
    "optimizer": "set networks.generator.optimizer and networks.discriminator.optimizer, and remove it",
    "loss": "set generation.loss, and remove it",
    "metrics": "remove it: all measures are computed",
    "reduce_on_plateau": "set a schedule in the optimizers of networks, and remove it",
    "repeats": "remove it, and compare seeds with trainer sweep CONFIG seed=1,2,3",
    "folds": "set data.split.fold for one of them, or remove it",
}


def generation_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield conflicts of the settings of generation with each other and with other settings."""
    if not generates(config.data):
        yield from _for_other_tasks(config)
        return
    yield from _unused(config)
    yield from _data_conflicts(config)
    yield from _monitor_conflicts(config)
    networks = config.networks
    if networks is None:
        fix = "add networks: {generator: {layers: […]}, discriminator: {layers: […]}}"
        yield conflict("networks", "a generator and a discriminator", "nothing", fix, _TASK)
        return
    for name in NETWORK_NAMES:
        network: Generator | Discriminator = getattr(networks, name)
        yield from _network_conflicts(network, f"networks.{name}")
    yield from _loss_conflicts(config, networks.discriminator)


def _for_other_tasks(config: Config) -> Iterator[Conflict]:
    changed = [
        f"generation.{name}"
        for name in type(config.generation).model_fields
        if differs_from_default(config.generation, name)
    ]
    for key in [*(["networks"] if config.networks is not None else []), *changed]:
        expected, found = f"{key} only with data.task: generate", f"task: {config.data.task}"
        yield conflict(key, expected, found, "set data.task: generate, or remove it", _TASK)
    if not config.data.target:
        expected = "a column to predict, or a list of at least one"
        yield conflict("data.target", expected, "none", "name the column", _TASK)


def _unused(config: Config) -> Iterator[Conflict]:
    for section_name, names in _NOT_USED:
        section: Section = getattr(config, section_name) if section_name else config
        for name in names:
            if not differs_from_default(section, name):
                continue
            key = f"{section_name}.{name}" if section_name else name
            fix = _INSTEAD.get(name, "remove it")
            yield conflict(key, f"no {key} with task: generate", "one", fix, _TASK)
    if config.runtime.engine == "streaming":
        expected, found = "rows in memory with task: generate", "streaming"
        yield conflict("runtime.engine", expected, found, "remove it", _TASK)


def _data_conflicts(config: Config) -> Iterator[Conflict]:
    data, settings = config.data, config.generation
    if not isinstance(data.target, str) and len(data.target) > 1:
        found = f"{len(data.target)} columns"
        expected = "at most one target with task: generate, the class of each row"
        yield conflict("data.target", expected, found, "name one of them, or none", _TASK)
    if settings.condition and not data.target:
        expected = "data.target, the column of the classes, with generation.condition"
        fix = "set data.target, or remove generation.condition"
        yield conflict("generation.condition", expected, "none", fix, "data.target")
    if settings.image is not None and image_columns(data):
        expected = "generation.image only for the pixels in the columns of a table"
        fix = "set data.image.size"
        yield conflict("generation.image", expected, "files of images", fix, "data.columns")
    if image_columns(data) and (data.image.scale != "unit" or data.image.random_crop):
        name = "random_crop" if data.image.random_crop else "scale"
        expected = f"no {name}: generated images have values from 0 to 255"
        yield conflict(f"data.image.{name}", expected, "one", "remove it", _TASK)
    for name, column in data.columns.items():
        if column.kind in ("text", "tokens"):
            expected = "columns of numbers, categories, dates or yes/no, or images"
            fix = f"exclude it: data.features.exclude: ['{name}']"
            key = f'data.columns."{name}".kind'
            yield conflict(key, expected, f"'{name}', which is {column.kind}", fix, _TASK)


def _monitor_conflicts(config: Config) -> Iterator[Conflict]:
    known = ["loss", *MEASURES]
    monitors = dict(monitored_metrics(config.fit))
    stopping, best = "fit.early_stopping.monitor", "fit.checkpoint.monitor"
    if stopping in monitors and monitors[stopping] == monitors.get(best):
        del monitors[best]
    for key, metric in monitors.items():
        if metric not in known:
            fix = did_you_mean(metric, known, f"available: {', '.join(known)}")
            yield conflict(key, "a measure of task: generate", f"'{metric}'", fix, _TASK)


def _network_conflicts(network: Generator | Discriminator, key: str) -> Iterator[Conflict]:
    yield from optimizer_conflicts(network.optimizer, f"{key}.optimizer")
    if network.optimizer.gradient_accumulation_steps is not None:
        expected, found = "an update for each batch with task: generate", "accumulated gradients"
        where = f"{key}.optimizer.gradient_accumulation_steps"
        yield conflict(where, expected, found, "increase fit.batch_size instead", _TASK)
    for index, layer in enumerate(network.layers):
        settings = layer.settings
        where = f"{key}.layers.{index}.{settings.kind}"
        if isinstance(settings, Custom | PrincipalComponents):
            expected = "a layer without code or data of its own with task: generate"
            yield conflict(where, expected, settings.kind, "use other layers", _TASK)
            continue
        yield from settings.conflicts(where)


def _loss_conflicts(config: Config, discriminator: Discriminator) -> Iterator[Conflict]:
    settings = config.generation
    if settings.label_smoothing and settings.loss not in _SMOOTHED:
        expected = f"label_smoothing only with the losses {' and '.join(_SMOOTHED)}"
        fix = "remove one of the two"
        key = "generation.label_smoothing"
        yield conflict(key, expected, f"loss: {settings.loss}", fix, "generation.loss")
    penalized = settings.gradient_penalty or (
        settings.loss == "wasserstein" and settings.gradient_penalty is None
    )
    for index, layer in enumerate(discriminator.layers):
        if penalized and isinstance(layer.settings, BatchNormalization):
            expected = (
                "no batch_normalization with a gradient penalty, which is that of each row alone"
            )
            fix = "use layer_normalization, or set generation.gradient_penalty: 0"
            key = f"networks.discriminator.layers.{index}.batch_normalization"
            yield conflict(key, expected, "one", fix, "generation.gradient_penalty")
