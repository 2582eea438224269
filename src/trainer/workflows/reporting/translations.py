"""What a run that translates writes after training: metrics, translations, findings and examples.

Importing this module does not import TensorFlow.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
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
from trainer.data.arrays import Float32Array, RowIndex
from trainer.data.dataset import Dataset
from trainer.data.opening import gather_rows
from trainer.data.samples import Samples
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.token_columns import TokenColumn
from trainer.data.values import to_text
from trainer.errors import Problem, RunError
from trainer.metrics.texts import TextScores
from trainer.report.summary import summary_sentence
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation
from trainer.runs.explanations import ShownTranslation, TranslationsFile
from trainer.runs.files import json_bytes
from trainer.runs.findings import write_findings
from trainer.runs.records import to_json
from trainer.tasks.translation import LOG_PROBABILITY, STATISTICS, TranslationTask

if TYPE_CHECKING:
    from trainer.workflows.building import TrainingSetup
    from trainer.workflows.plan import RunPlan

_SHOWN = 6
"""Number of the best, and of the worst, translations in the report."""
_SPLITS: tuple[SplitName, ...] = ("test", "validation")
"""The splits that are translated, in the order of relevance."""


def write_translations(
    run: RunDirectory,
    plan: RunPlan,
    split: SplitName,
    metrics: Mapping[str, float],
    samples: Samples,
    outputs: Float32Array,
    epoch: int | None,
) -> None:
    """Write metrics of the best weights for a split, and its translations, if there are any.

    Args:
        run: The run directory.
        plan: The plan of the run.
        split: The split.
        metrics: The metrics.
        samples: The samples of the split.
        outputs: The outputs for all of them.
        epoch: The epoch of the best weights.

    Raises:
        StorageError: The run directory cannot be written.
    """
    rows = len(samples)
    evaluation = Evaluation(metrics, split=split, checkpoint="best", epoch=epoch, rows=rows)
    run.write_evaluation(split, evaluation)
    task = plan.task
    if not isinstance(task, TranslationTask) or outputs.shape[1] == STATISTICS:
        return
    frame = pl.DataFrame(
        {
            "row": samples.rows,
            "source": _sources(plan.dataset, samples.rows),
            "actual": samples.texts,
            "predicted": pl.Series(task.texts(outputs), dtype=pl.String),
            "log_probability": outputs[:, LOG_PROBABILITY].astype(np.float64),
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    run.write_predictions(f"{split}.parquet", buffer.getvalue())


def read_translations(run: RunDirectory, split: SplitName) -> TranslatedTexts | None:
    """Read the translations of a split; None if there are none.

    Raises:
        RunError: The file is damaged.
    """
    path = run.predictions / f"{split}.parquet"
    if not path.exists():
        return None
    try:
        frame = pl.read_parquet(io.BytesIO(run.read_predictions(path.name)))
        columns = (frame[name].to_list() for name in ("source", "actual", "predicted"))
        return TranslatedTexts(frame["row"].to_numpy(), *columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        found = str(error).splitlines()[0]
        fix = "restore the file from a copy of the run"
        raise RunError(Problem(str(path), "translations of the run", found, fix)) from error


def write_translation_findings(
    run: RunDirectory, config: Config, dataset: Dataset, task: TranslationTask
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
        task.target.columns[0],
        task.text.bleu_tokenizer,
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
    task = plan.task
    found = ((split, read_translations(run, split)) for split in _SPLITS)
    split, texts = next(
        ((split, texts) for split, texts in found if texts is not None), ("test", None)
    )
    if texts is None or not isinstance(task, TranslationTask):
        return
    tokenizer = task.text.bleu_tokenizer
    scores = TextScores(texts.translations, texts.references, tokenizer).sentence_scores()
    lengths = np.array([len(text) for text in texts.sources])
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
    shown = _with_attention(plan, built, task, shown)
    names = compared_text_metrics(plan.config)
    content = TranslationsFile(
        split=split,
        best=tuple(shown[: len(best)]),
        worst=tuple(shown[len(best) :]),
        by_length=metrics_by_length(texts, names, tokenizer),
    )
    run.write_explanation("translations.json", json_bytes(to_json(content)))


def _with_attention(
    plan: RunPlan, built: TrainingSetup, task: TranslationTask, shown: list[ShownTranslation]
) -> list[ShownTranslation]:
    """Return translations with their tokens, and how the decoder attends to those of the source."""
    import tensorflow as tf

    from trainer.models.translation.decoding import Decoder, attention_to_source

    source, shape = plan.dataset.preprocessing.tokens, plan.network.translation
    assert isinstance(source, TokenColumn), "the source has tokens"
    assert source.pieces is not None, "tokens are parts of words"
    assert shape is not None, "the network translates"
    target = task.text.column
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
