"""Measure the samples of a generator against the rows of a split, during training and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from trainer.assessment.generation_features import RowFeatures, fit_image_features
from trainer.assessment.generation_measures import Reference, measure
from trainer.assessment.generation_tables import TableComparison, compare_tables
from trainer.config.schema import Config
from trainer.data.arrays import Float32Array, Float64Array, RowIndex
from trainer.data.generated_samples import Draw, draw_samples, sampled_images, sampled_rows
from trainer.data.generation import GenerationData
from trainer.data.splits import SplitName
from trainer.inputs import IMAGE, Inputs
from trainer.models.seeds import derived_seed

MIN_REFERENCE = 50
"""Validation rows with which samples are compared at least; with fewer, the training rows are used."""
_SUBSET_SEED = 3

Generate = Callable[[Inputs], Float32Array]
"""Returns the generated values (rows, values) for the inputs of the generator."""


@dataclass(frozen=True)
class SampleMeasures:
    """Compares samples with the rows of a split.

    Attributes:
        config: The config of the run.
        dataset: Its rows.
        generate: The generator.
    """

    config: Config
    dataset: GenerationData
    generate: Generate

    @cached_property
    def compared_split(self) -> SplitName:
        """The split that the measures of epochs compare with."""
        return "validation" if self.dataset.rows("validation") >= MIN_REFERENCE else "train"

    def measure(self, split: SplitName) -> dict[str, float]:
        """Return the measures of as many samples as rows of a split, up to `generation.measured`."""
        reference = self._references(split)
        features, classes = self._features_of(self._draw(len(reference.features)))
        return measure(reference, features, classes)

    def metrics(self, split: SplitName) -> dict[str, float]:
        """Return the measures of samples, and for tables those of `compare`."""
        comparison = self.compare(split)
        return {**self.measure(split), **({} if comparison is None else comparison.metrics)}

    def compare(self, split: SplitName) -> TableComparison | None:
        """Return the comparison of generated rows with those of a split; None for images."""
        rows = self.dataset.preprocessing
        if rows.images is not None:
            return None
        training = self._limited(self.dataset.frame("train"))
        real = training if split == "train" else self._limited(self.dataset.frame(split))
        draw = self._draw(real.height)
        generated = sampled_rows(rows, self.generate(draw.inputs), draw)
        return compare_tables(rows, training, real, generated)

    def _draw(self, count: int) -> Draw:
        seed = derived_seed(self.config.seed, "generator", "measures")
        latent = self.config.generation.latent
        return draw_samples(self.dataset.preprocessing, latent, count, seed)

    def _features_of(self, draw: Draw) -> tuple[Float64Array, RowIndex | None]:
        rows = self.dataset.preprocessing
        values = self.generate(draw.inputs)
        if rows.images is None:
            frame = sampled_rows(rows, values, draw)
            codes = None
            if rows.classes and not rows.condition:
                codes = rows.class_codes(frame[str(rows.target)])
            return RowFeatures(rows).features(frame), codes
        images = sampled_images(rows, values)
        features = self._image_features
        return features.features(images), features.classes(images)

    @cached_property
    def _image_features(self) -> Any:
        training = self.dataset.samples("train")
        assert training is not None, "there are training rows"
        return fit_image_features(training.inputs[IMAGE], training.y)

    @cached_property
    def _known(self) -> dict[SplitName, Reference]:
        return {}

    def _references(self, split: SplitName) -> Reference:
        if split not in self._known:
            self._known[split] = self._reference(split)
        return self._known[split]

    def _reference(self, split: SplitName) -> Reference:
        rows = self.dataset.preprocessing
        samples = self.dataset.samples(split)
        assert samples is not None, "the split has rows"
        chosen = subset(len(samples), self.config.generation.measured)
        shares = samples.y.mean(axis=0, dtype=np.float64)
        if rows.images is None:
            frame = self.dataset.frame(split)[chosen]
            return Reference(RowFeatures(rows).features(frame), shares)
        images = samples.inputs[IMAGE][chosen]
        return Reference(self._image_features.features(images), shares)

    def _limited(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame[subset(frame.height, 10 * self.config.generation.measured)]


def subset(rows: int, limit: int) -> RowIndex:
    """Return up to `limit` row numbers in ascending order, always the same ones."""
    generator = np.random.Generator(np.random.Philox(key=_SUBSET_SEED))
    return np.sort(generator.permutation(rows)[:limit])
