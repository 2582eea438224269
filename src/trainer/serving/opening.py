"""Open an exported file as what it is: a model that predicts rows, or a generator of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.export.schema import GENERATOR_KEY
from trainer.serving.onnx_model import OnnxModel, incompatibility, open_session
from trainer.serving.settings import ModelSource

if TYPE_CHECKING:
    from trainer.serving.generator_model import GeneratorModel


def open_model(source: ModelSource) -> OnnxModel | GeneratorModel:
    """Open an exported file.

    Raises:
        RunError: It is missing, is no ONNX file, or was not written by `trainer export`.
    """
    session = open_session(source)
    if GENERATOR_KEY not in session.get_modelmeta().custom_metadata_map:
        return OnnxModel(source, session)
    from trainer.serving.generator_model import GeneratorModel

    return GeneratorModel(source, session)


def incompatible_models(new: OnnxModel | GeneratorModel, old: OnnxModel | GeneratorModel) -> str:
    """Return why requests for the old model would fail with the new one; empty if none would."""
    if isinstance(new, OnnxModel) and isinstance(old, OnnxModel):
        return incompatibility(new.schema, old.schema)
    if isinstance(new, OnnxModel):
        return "it predicts rows"
    if isinstance(old, OnnxModel):
        return "it generates samples"
    from trainer.serving.generator_model import generator_incompatibility

    return generator_incompatibility(new.schema, old.schema)
