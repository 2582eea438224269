"""Parts of the config that `trainer init` writes, which can be removed to measure their effect."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

Settings = dict[str, Any]


def _columns(config: Settings) -> list[Settings]:
    return list(config["data"].get("columns", {}).values())


def _bins(config: Settings) -> None:
    for settings in (config["data"].get("numeric", {}), *_columns(config)):
        settings.pop("piecewise_bins", None)


def _target_means(config: Settings) -> None:
    for settings in _columns(config):
        settings.pop("target_mean", None)


def _smoothing(config: Settings) -> None:
    if "label_smoothing" in config.get("loss", {}):
        del config["loss"]["label_smoothing"]
        config.get("evaluate", {}).pop("calibrate", None)
        if not config["loss"]:
            del config["loss"]


def _quantiles(config: Settings) -> None:
    if "quantiles" in config.get("loss", {}):
        del config["loss"]


def _folds(config: Settings) -> None:
    if config["fit"].pop("folds", None) is not None:
        config["fit"].pop("repeats", None)
        config["data"]["split"]["validation"] = 0.2


def _learned_scale(config: Settings) -> None:
    config["model"]["layers"] = [
        layer for layer in config["model"]["layers"] if layer != "learned_scale"
    ]


def _dropout(config: Settings) -> None:
    config["model"]["layers"] = [
        layer
        for layer in config["model"]["layers"]
        if not isinstance(layer, dict) or "dropout" not in layer
    ]


def _smooth_clip(config: Settings) -> None:
    if config["data"].get("numeric", {}).pop("smooth_clip", None) is not None:
        config["data"]["numeric"]["scale"] = "standard"


def _components(config: Settings) -> None:
    config["model"]["layers"] = [
        layer
        for layer in config["model"]["layers"]
        if not isinstance(layer, dict) or "principal_components" not in layer
    ]


def _dates(config: Settings) -> None:
    if config["data"].pop("datetime", None) is not None:
        config["data"]["datetime"] = {"parts": ["elapsed"]}


def _weight_decay(config: Settings) -> None:
    if "weight_decay" in config["optimizer"]:
        config["optimizer"]["weight_decay"] = 0.0


def _report(config: Settings) -> None:
    config.setdefault("evaluate", {})["report"] = False


_REMOVE: dict[str, Callable[[Settings], None]] = {
    "bins": _bins,
    "target_means": _target_means,
    "smoothing": _smoothing,
    "quantiles": _quantiles,
    "folds": _folds,
    "learned_scale": _learned_scale,
    "dropout": _dropout,
    "smooth_clip": _smooth_clip,
    "components": _components,
    "dates": _dates,
    "weight_decay": _weight_decay,
    "report": _report,
}
PARTS = tuple(_REMOVE)


def without_part(config: Settings, part: str) -> Settings | None:
    """Return a config without one of `PARTS`; None if it does not have that part."""
    changed = copy.deepcopy(config)
    _REMOVE[part](changed)
    return None if changed == config else changed
