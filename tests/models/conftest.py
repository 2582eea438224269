"""Set up Keras before it is imported; build networks for the tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from trainer.config.schema import Config
from trainer.inputs import CATEGORIES, FEATURES, IMAGE, TERMS, TOKENS, UNIT_SCALING, InputSpec

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"


def _shape_of(
    width: int = 6,
    embeddings: Sequence[tuple[int, int]] = (),
    head: Any = "sigmoid",
    outputs: int = 1,
    image: Sequence[int] | None = None,
    image_scaling: Any = UNIT_SCALING,
    terms: tuple[int, int, int] | None = None,
    tokens: tuple[int, int, int] | None = None,
) -> Any:
    from trainer.models.summary import NetworkShape

    inputs = [
        InputSpec(IMAGE, (0,) if image is None else tuple(image), "uint8"),
        InputSpec(FEATURES, (width - len(embeddings),), "float32"),
        InputSpec(CATEGORIES, (len(embeddings),), "int32"),
    ]
    if terms is not None:
        inputs.append(InputSpec(TERMS, (terms[0], 2), "float32"))
    if tokens is not None:
        inputs.append(InputSpec(TOKENS, tokens[:1], "int32"))
    return NetworkShape(
        tuple(spec for spec in inputs if spec.shape != (0,)),
        tuple(embeddings),
        head,
        outputs,
        image_scaling,
        None if terms is None else terms[1:],
        None if tokens is None else tokens[1:],
        token_padding=None if tokens is None else (0, True),
    )


def _config_of(layers: Sequence[Any] = (), seed: int = 0, **sections: Any) -> Config:
    model = {"layers": list(layers), **sections.pop("model", {})}
    data = {"source": "rows.csv", "target": "y"}
    return Config.model_validate({"data": data, "model": model, "seed": seed, **sections})


@pytest.fixture(scope="session")
def config_of() -> Callable[..., Config]:
    """Return a function that makes a config from layers and other sections."""
    return _config_of


@pytest.fixture(scope="session")
def shape_of() -> Callable[..., Any]:
    """Return a function that makes the shape of a network.

    The width counts features and categories; terms are (slots, ids, dimension), tokens
    (length, ids, dimension), with 0 as padding before a text.
    """
    return _shape_of


@pytest.fixture(scope="session")
def network_of() -> Callable[..., Any]:
    """Return a function that builds a network from layers and other sections.

    A width of 0 with an image is a network without columns.
    """
    from trainer.models.network import Variant, build_network

    def make(
        layers: Sequence[Any] = (),
        *,
        width: int = 6,
        embeddings: Sequence[tuple[int, int]] = (),
        head: Any = "sigmoid",
        outputs: int = 1,
        image: Sequence[int] | None = None,
        image_scaling: Any = UNIT_SCALING,
        terms: tuple[int, int, int] | None = None,
        tokens: tuple[int, int, int] | None = None,
        prior: Sequence[float] = (0.5,),
        allow_custom: bool = False,
        compiled: bool = False,
        shared: Any = None,
        base: Path = Path(),
        **sections: Any,
    ) -> Any:
        config = _config_of(layers, **sections)
        return build_network(
            config,
            _shape_of(width, embeddings, head, outputs, image, image_scaling, terms, tokens),
            prior,
            allow_custom=allow_custom,
            base=base,
            variant=Variant(compiled=compiled),
            shared=shared,
        )

    return make
