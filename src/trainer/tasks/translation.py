"""The task of a run that translates: from the outputs of its network to texts and their metrics.

An output row has STATISTICS numbers, then the ids of the tokens of the text, up to that of its end.
While a network is trained there are no ids, unless a metric of texts is monitored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.config.metrics import METRICS
from trainer.data.arrays import Float32Array
from trainer.data.preprocessing import Preprocessing
from trainer.data.samples import Samples
from trainer.data.text_targets import TextTarget
from trainer.data.token_columns import TokenColumn
from trainer.metrics.arrays import FloatArray
from trainer.metrics.texts import TextScores, require_sacrebleu
from trainer.models.summary import NetworkShape
from trainer.models.translation.shape import TranslationShape
from trainer.tasks.base import Column
from trainer.tasks.evaluated import EvaluatedSamples
from trainer.tasks.task import Task

LOG_PROBABILITY, NEGATIVE_LOG_LIKELIHOOD, TOKENS, CORRECT = range(4)
STATISTICS = 4
"""Columns before the ids: the logarithm of the probability of the text; for the target, the sum over
its tokens of the negative logarithm of their probability, their number, and how many are the most likely
ones, each after the tokens of the target before it; 0 without a target."""


@dataclass(frozen=True, slots=True)
class TranslationTask(Task):
    """The task of a run that translates. Decoded outputs are the outputs themselves."""

    @property
    def text(self) -> TextTarget:
        """The tokens of the target."""
        assert self.target.text is not None, "the target is a text"
        return self.target.text

    def check_packages(self) -> None:
        """Check that sacrebleu is installed; see `Task.check_packages`."""
        require_sacrebleu()

    def prior(self) -> tuple[float, ...]:
        """Return no frequencies: the output layer has no bias."""
        return ()

    def network_shape(self, preprocessing: Preprocessing) -> NetworkShape:
        """Return the input of the network, and the tokens of source and target."""
        source, target = preprocessing.tokens, self.text.column
        assert isinstance(source, TokenColumn), "the source has tokens"
        shape = TranslationShape(
            source_ids=source.vocabulary_size,
            source_pad=source.pad_id,
            target_ids=target.vocabulary_size,
            target_pad=target.pad_id,
            target_length=target.length - 1,
            start=self.text.start_id,
            end=self.text.end_id,
            shares_tokens=source.pieces == target.pieces,
        )
        return NetworkShape(
            preprocessing.inputs, (), self.head, shape.target_ids, translation=shape
        )

    def decode_outputs(self, outputs: Float32Array) -> FloatArray:
        """Return the outputs."""
        return outputs

    def point_predictions(self, decoded: FloatArray) -> FloatArray:
        """Return the outputs."""
        return decoded

    def texts(self, outputs: FloatArray) -> list[str]:
        """Return the text of each output row."""
        return self.text.decode(outputs[:, STATISTICS:].astype(np.int32))

    def evaluated(
        self, samples: Samples, decoded: FloatArray, metrics: Mapping[str, float]
    ) -> EvaluatedSamples:
        """Return outputs as texts with the targets of samples, and their metrics."""
        if decoded.shape[1] == STATISTICS:
            return EvaluatedSamples(rows=len(samples), metrics=metrics)
        texts = pl.DataFrame(
            {
                "row": samples.rows,
                "actual": samples.texts,
                "predicted": pl.Series(self.texts(decoded), dtype=pl.String),
                "log_probability": decoded[:, LOG_PROBABILITY].astype(np.float64),
            }
        )
        return EvaluatedSamples(rows=len(samples), metrics=metrics, texts=texts)

    def _scores(self, outputs: FloatArray, samples: Samples, rows: NDArray[np.int32]) -> TextScores:
        assert samples.texts is not None, "the samples have targets"
        references = samples.texts.gather(rows).to_list()
        return TextScores(self.texts(outputs), references, self.text.bleu_tokenizer)

    def prediction_metrics(self, decoded: FloatArray, samples: Samples) -> dict[str, float]:
        """Compute the metrics of outputs for all rows of samples."""
        return self.compute_metrics(
            np.asarray(decoded, np.float32), samples, np.arange(len(decoded), dtype=np.int32)
        )

    def compute_metrics(
        self, outputs: Float32Array, samples: Samples, rows: NDArray[np.int32]
    ) -> dict[str, float]:
        """Compute the metrics of outputs for some rows of samples; those of texts only with ids."""
        if not outputs.shape[1]:
            return {}
        has_texts = outputs.shape[1] > STATISTICS
        scores = self._scores(outputs, samples, rows) if has_texts else None
        metrics: dict[str, float] = {}
        for name in self.metrics:
            if not METRICS[name].needs_decoding:
                metrics[name] = _token_metric(name, outputs)
            elif scores is not None:
                metrics[name] = scores.compute(name)
        return metrics

    def prediction_columns(self, decoded: FloatArray) -> dict[str, Column]:
        """Return the texts, and the logarithms of their probabilities."""
        column = np.asarray(decoded[:, LOG_PROBABILITY], np.float64)
        return {
            self.prediction_names[0]: pl.Series(self.texts(decoded), dtype=pl.String),
            "log_probability": column,
        }


def _token_metric(name: str, outputs: Float32Array) -> float:
    totals = outputs[:, :STATISTICS].sum(axis=0, dtype=np.float64)
    if not totals[TOKENS]:
        return float("nan")
    if name == "token_accuracy":
        return float(totals[CORRECT] / totals[TOKENS])
    return float(np.exp(totals[NEGATIVE_LOG_LIKELIHOOD] / totals[TOKENS]))
