"""The folder of an encoder: found, checked and described without Keras.

config.json          what `trainer.models.pretrained.encoders` reads
model.safetensors    its arrays, each of which must have a place
vocab.txt, tokenizer.json    for `data.tokens`
"""

from __future__ import annotations

import json
from collections import Counter
from math import prod
from pathlib import Path

from trainer.config.encoders import ENCODER_PACKAGES, encoder_folder
from trainer.config.pretrained import Pretrained
from trainer.errors import ConfigError, Problem
from trainer.inputs import TOKENS
from trainer.models.pretrained.description import (
    BASE,
    BaseNetwork,
    file_sha256,
    weights_problem,
)
from trainer.models.pretrained.encoders import (
    Encoder,
    encoder_modules,
    parse_encoder,
    place_arrays,
)
from trainer.models.pretrained.keras_config import (
    layer_settings,
    read_keras_config,
)
from trainer.models.pretrained.safetensors_files import read_safetensors_shapes
from trainer.models.pretrained.weights_error import WeightsError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_VOCABULARIES = ("tokenizer.json", "vocab.txt")
_KEY = "model.pretrained"
_CONTENT = "config.json, model.safetensors, and tokenizer.json or vocab.txt"
_MAX_CONFIG_BYTES = 1 << 20
_SAFE = (
    "save it as .safetensors where transformers is installed: "
    "AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)


def describe_encoder(settings: Pretrained, length: int) -> BaseNetwork:
    """Describe the encoder of a new run.

    Args:
        settings: The section `model.pretrained`.
        length: Number of tokens of a text.

    Raises:
        ConfigError: The folder or package is missing, incomplete or damaged, or is not that of an
            encoder for texts of this length.
    """
    folder = _folder(settings)
    try:
        encoder = read_encoder(folder)
        weights = folder / WEIGHTS
        _, ignored = place_arrays(encoder, read_safetensors_shapes(weights))
        digest = file_sha256(weights)
    except (WeightsError, OSError) as error:
        raise weights_problem(error, settings, folder) from error
    if length > encoder.max_length:
        expected = f"at most {encoder.max_length} tokens, the positions of {folder.name}"
        fix = f"set data.tokens.length: {encoder.max_length}"
        raise ConfigError(Problem("", expected, f"{length}", fix, "data.tokens.length"))
    if settings.frozen_layers >= encoder.layers:
        expected = f"fewer frozen layers than the {encoder.layers} of {folder.name}"
        fix = f"set {_KEY}.frozen: true to change none"
        raise ConfigError(Problem("", expected, f"{settings.frozen_layers}", fix, f"{_KEY}.frozen"))
    parameters = sum(
        prod(shape) for module in encoder_modules(encoder) for shape in module.shapes.values()
    )
    return BaseNetwork(
        settings=settings,
        file=weights,
        sha256=digest,
        layer="",
        channels=encoder.width,
        parameters=parameters + _adapter_weights(settings, encoder),
        multiplications=encoder.multiplications(length),
        activations=encoder.activations(length),
        scaling=None,
        input=TOKENS,
        trained=_trained_weights(settings, encoder),
        encoder=encoder,
        ignored=_summary(ignored),
    )


def describe_saved_encoder(settings: Pretrained, model: Path) -> BaseNetwork:
    """Describe the encoder in the `model.keras` of a run.

    Raises:
        ConfigError: The file does not have the encoder.
    """
    try:
        attention = layer_settings(read_keras_config(model, BASE), "MultiHeadAttention")
        if attention is None:
            raise WeightsError("no attention", expected=f"a layer '{BASE}' that is an encoder")
        channels = int(attention["num_heads"]) * int(attention["key_dim"])
    except (WeightsError, OSError) as error:
        raise weights_problem(error, settings, model) from error
    return BaseNetwork(
        settings, model, "", "", channels, None, None, None, scaling=None, nested=True, input=TOKENS
    )


def _trained_weights(settings: Pretrained, encoder: Encoder) -> int:
    """Return the number of weights that change, if the encoder is not frozen."""
    if settings.lora is not None:
        return _adapter_weights(settings, encoder)
    return sum(
        prod(shape)
        for module in encoder_modules(encoder)
        for shape in module.shapes.values()
        if is_trained(settings, module.depth)
    )


def is_trained(settings: Pretrained, depth: int) -> bool:
    """Return whether the weights at a depth change: the embeddings (0) are frozen with any layer."""
    return not settings.frozen_layers or depth > settings.frozen_layers


def read_encoder(folder: Path) -> Encoder:
    """Return the encoder that the `config.json` of a folder describes.

    Raises:
        WeightsError: It is damaged, or of another kind.
        OSError: It cannot be read.
    """
    path = folder / CONFIG
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise WeightsError("a config.json of more than 1 MB")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise WeightsError("a config.json that is not JSON") from error
    if not isinstance(content, dict):
        raise WeightsError("a config.json that is not a mapping")
    return parse_encoder(content)


def _folder(settings: Pretrained) -> Path:
    """Return the folder that the settings name, which has all files.

    Raises:
        ConfigError: It is missing or incomplete.
    """
    folder = encoder_folder(settings)
    if folder is None:
        assert settings.architecture is not None, "a config has a file or an architecture"
        package, command = ENCODER_PACKAGES[settings.architecture]
        expected = f"the package {package} with {settings.architecture}, or a folder"
        raise ConfigError(Problem("", expected, "no such package", command, _KEY))
    if folder.is_dir():
        missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
        if not any((folder / name).is_file() for name in _VOCABULARIES):
            missing.append(" or ".join(_VOCABULARIES))
        if not missing:
            return folder
        found = f"no {', no '.join(missing)}"
    else:
        missing = []
        found = "a file" if folder.exists() else "no such folder"
    others = [path.name for path in folder.glob("*.bin")] + [
        path.name for path in folder.glob("*.index.json")
    ]
    fix = _SAFE if WEIGHTS in missing and others else _how_to_get(folder)
    expected = f"a folder with {_CONTENT}: {folder}"
    raise ConfigError(Problem("", expected, found, fix, _KEY))


def _how_to_get(folder: Path) -> str:
    """Return how to get a folder on a machine with a network; `trainer` downloads nothing."""
    files = f"{CONFIG} {WEIGHTS} {' '.join(_VOCABULARIES)}"
    return (
        f"download it on a machine with a network: hf download OWNER/{folder.name} {files} "
        f"--local-dir {folder.name} (hf is installed with tokenizers)"
    )


def _adapter_weights(settings: Pretrained, encoder: Encoder) -> int:
    if settings.lora is None:
        return 0
    rank, size = settings.lora.rank, encoder.width // encoder.heads
    return encoder.layers * 2 * (encoder.width * encoder.heads * rank + rank * size)


def _summary(ignored: dict[str, str]) -> tuple[str, ...]:
    """Return the reasons for which arrays are not used, with their number."""
    counts = Counter(ignored.values())
    return tuple(f"{count} of {reason}" for reason, count in counts.items())
