"""An exported generator, opened by ONNX Runtime: a number, a seed and a class → samples."""

from __future__ import annotations

from dataclasses import dataclass

import onnxruntime

from trainer.data.generated_samples import Draw, draw_samples
from trainer.errors import InputError, RunError
from trainer.export.generator_schema import (
    Arrays,
    GeneratorSchema,
    graph_inputs,
    read_generator_schema,
)
from trainer.serving.onnx_model import run_in_batches
from trainer.serving.settings import ModelSource

_MAX_SAMPLES = 1024
"""Maximum number of samples in a call of ONNX Runtime, which limits its memory."""


@dataclass(frozen=True)
class DrawnSamples:
    """Samples, and the random numbers that they were made from.

    Attributes:
        draw: The random numbers.
        outputs: Name → values of the outputs of the graph, (samples, …).
    """

    draw: Draw
    outputs: Arrays


class GeneratorModel:
    """A served generator.

    Attributes:
        source: Its name and file.
        schema: What it generates.
    """

    def __init__(self, source: ModelSource, session: onnxruntime.InferenceSession) -> None:
        """Read the schema of an opened file.

        Raises:
            RunError: It is damaged or of another format.
        """
        self.source = source
        self._session = session
        try:
            self.schema: GeneratorSchema = read_generator_schema(
                session.get_modelmeta().custom_metadata_map
            )
        except InputError as error:
            raise RunError(problem.at(source.file) for problem in error.problems) from error
        self._names = [output.name for output in session.get_outputs()]

    def sample(self, count: int, seed: int, only: int | None = None) -> DrawnSamples:
        """Return new samples: those of `trainer predict --count --seed --class`.

        Args:
            count: Number of samples.
            seed: The seed.
            only: The class of all samples; None for classes as frequent as in the training rows.
        """
        draw = draw_samples(self.schema, self.schema.latent, count, seed, only)
        inputs = graph_inputs(self.schema, draw)
        outputs = run_in_batches(self._session, self._names, inputs, count, _MAX_SAMPLES)
        return DrawnSamples(draw, dict(zip(self._names, outputs, strict=True)))


def generator_incompatibility(new: GeneratorSchema, old: GeneratorSchema) -> str:
    """Return why requests for the old generator would fail, or get samples of another form with the new
    one; empty if not.
    """
    if (new.images is None) != (old.images is None):
        return "it generates rows" if new.images is None else "it generates images"
    if new.images is not None and old.images is not None and new.images.shape != old.images.shape:
        return "it generates images of another size"
    if new.column_names != old.column_names:
        return "it has other columns"
    if old.conditions and set(old.classes) - set(new.classes):
        return "it has other classes"
    return ""
