"""What a run that translates writes after training: metrics, translations, findings and examples.

Importing this module does not import TensorFlow.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from trainer.assessment.text_findings import (
    TranslatedTexts,
    compared_text_metrics,
    metrics_by_length,
    text_findings,
)
from trainer.config.schema import Config
from trainer.config.translation import encoder_decoder
from trainer.data.arrays import RowIndex
from trainer.data.dataset import Dataset
from trainer.data.opening import gather_rows
from trainer.data.parquet_errors import parquet_errors
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.text_targets import TextTarget
from trainer.data.token_columns import TokenColumn
from trainer.data.values import to_text
from trainer.metrics.texts import TextScores
from trainer.report.summary import summary_sentence
from trainer.runs.directory import RunDirectory
from trainer.runs.explanations import ShownTranslation, TranslationsFile
from trainer.runs.files import json_bytes
from trainer.runs.findings import write_findings
from trainer.runs.records import to_json

if TYPE_CHECKING:
    from trainer.workflows.building import TrainingSetup
    from trainer.workflows.plan import RunPlan

_SHOWN = 6
"""Number of the best, and of the worst, translations in the report."""
_SPLITS: tuple[SplitName, ...] = ("test", "validation")
"""The splits that are translated, in the order of relevance."""


def write_translations(
    run: RunDirectory, dataset: Dataset, split: SplitName, texts: pl.DataFrame
) -> None:
    """Write the translations of a split with their sources.

    Args:
        run: The run directory.
        dataset: Its rows.
        split: The split.
        texts: See `EvaluatedSamples`.

    Raises:
        StorageError: The run directory cannot be written.
    """
    sources = _sources(dataset, texts["row"].to_numpy()).alias("source")
    buffer = io.BytesIO()
    texts.clone().insert_column(1, sources).write_parquet(buffer)
    run.write_predictions(f"{split}.parquet", buffer.getvalue())


def read_translations(run: RunDirectory, split: SplitName) -> TranslatedTexts | None:
    """Read the translations of a split; None if there are none.

    Raises:
        RunError: The file is damaged.
    """
    path = run.predictions / f"{split}.parquet"
    if not path.exists():
        return None
    with parquet_errors(path, "translations of the run"):
        frame = pl.read_parquet(io.BytesIO(run.read_predictions(path.name)))
        columns = (frame[name].to_list() for name in ("source", "actual", "predicted"))
        return TranslatedTexts(frame["row"].to_numpy(), *columns)


def write_translation_findings(
    run: RunDirectory, config: Config, dataset: Dataset, text: TextTarget
) -> str:
    """Write the findings of a run that translates; return the summary sentence.

    Without validation and test rows, there are none, and the sentence is empty.

    Raises:
        RunError: The translations are damaged.
        StorageError: The run directory cannot be written.
    """
    splits = {split: read_translations(run, split) for split in _SPLITS}
    known: dict[str, TranslatedTexts] = {
        split: texts for split, texts in splits.items() if texts is not None
    }
    if not known:
        return ""
    training = np.flatnonzero(dataset.assignment == SPLIT_NAMES.index("train"))
    targets = dataset.target_texts(training)
    assert targets is not None, "the target is a text"
    findings = text_findings(
        config,
        dataset.preprocessing.target.columns[0],
        text.bleu_tokenizer,
        known,
        (_sources(dataset, training).to_list(), targets.to_list()),
    )
    findings = replace(findings, sentence=summary_sentence(findings))
    write_findings(run, findings)
    return findings.sentence


def explain_translations(plan: RunPlan, built: TrainingSetup, run: RunDirectory) -> None:
    """Write the best and the worst translations with their attention, and metrics by length.

    Raises:
        RunError: The translations are damaged.
        StorageError: The run directory cannot be written.
    """
    text = plan.task.text
    found = ((split, read_translations(run, split)) for split in _SPLITS)
    split, texts = next(
        ((split, texts) for split, texts in found if texts is not None), ("test", None)
    )
    if texts is None or text is None:
        return
    tokenizer = text.bleu_tokenizer
    scores = TextScores(texts.translations, texts.references, tokenizer).sentence_scores()
    lengths = np.array([len(source) for source in texts.sources])
    order = np.lexsort((-lengths, -scores))
    best, worst = order[:_SHOWN], order[::-1][:_SHOWN]
    shown = [
        ShownTranslation(
            row=int(texts.rows[index]),
            source=texts.sources[index],
            reference=texts.references[index],
            translation=texts.translations[index],
            chrf=float(scores[index]),
        )
        for index in (*best, *worst)
    ]
    shown = _with_attention(plan, built, text.column, shown)
    names = compared_text_metrics(plan.config)
    content = TranslationsFile(
        split=split,
        best=tuple(shown[: len(best)]),
        worst=tuple(shown[len(best) :]),
        by_length=metrics_by_length(texts, names, tokenizer),
    )
    run.write_explanation("translations.json", json_bytes(to_json(content)))


def _with_attention(
    plan: RunPlan, built: TrainingSetup, target: TokenColumn, shown: list[ShownTranslation]
) -> list[ShownTranslation]:
    """Return translations with their tokens, and how the decoder attends to those of the source."""
    import tensorflow as tf

    from trainer.models.translation.decoding import Decoder, attention_to_source

    source, shape = plan.dataset.preprocessing.tokens, plan.network.translation
    assert isinstance(source, TokenColumn), "the source has tokens"
    assert source.pieces is not None, "tokens are parts of words"
    assert shape is not None, "the network translates"
    assert target.pieces is not None, "tokens are parts of words"
    tokens, _ = source.encode(pl.Series([item.source for item in shown], dtype=pl.String))
    texts, _ = target.encode(pl.Series([item.translation for item in shown], dtype=pl.String))
    ids = texts[:, 1:]
    decoder = Decoder(built.network, encoder_decoder(plan.config.model), shape)
    weights = attention_to_source(decoder, tf.constant(tokens), tf.constant(ids)).numpy()
    with_attention = []
    for item, read, written, attended in zip(shown, tokens, ids, weights, strict=True):
        columns = np.flatnonzero(read != shape.source_pad)
        rows = np.flatnonzero(written != shape.target_pad)
        attention = np.round(attended[rows][:, columns].astype(np.float64), 4)
        with_attention.append(
            replace(
                item,
                source_tokens=tuple(source.pieces.token_texts(read[columns].tolist())),
                tokens=tuple(target.pieces.token_texts(written[rows].tolist())),
                attention=tuple(map(tuple, attention.tolist())),
            )
        )
    return with_attention


def _sources(dataset: Dataset, rows: RowIndex) -> pl.Series:
    """Return the sources of some rows, in increasing order, as in the table."""
    (column,) = dataset.preprocessing.columns
    frame = gather_rows(dataset.source, [column.name], rows)
    return to_text(frame[column.name]).fill_null("")
