"""Propose a config for texts and their translations: `trainer init TABLE --task translate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.read_options import non_default_read_options
from trainer.config.template import comment_text, exact_pattern
from trainer.config.yaml_writer import flow_text, scalar_text
from trainer.data.features import feature_columns, target_columns
from trainer.data.opening import open_table
from trainer.data.parallel_paths import parallel_files
from trainer.data.proposals import ConfigFile, Proposal
from trainer.data.recipes import Effort
from trainer.data.table_inspection import ColumnFinding, TableFindings
from trainer.data.tables import Table
from trainer.data.text_recognition import are_sentences
from trainer.data.text_targets import check_sources
from trainer.data.translation_recipe import TranslationRecipe, choose_translation_recipe
from trainer.errors import DataError, Problem, pluralize

_MIN_PAIRS = 20
"""With fewer, all rows are training rows."""
_LETTER, _LETTERS = r"\p{L}", 0.5
"""Share of the cells of texts with a letter."""
_MIN_DISTINCT, _DISTINCT_SHARE, _INSPECTED = 20, 0.3, 1_000


def propose_translation_config(data: Data, config: ConfigFile, effort: Effort) -> Proposal:
    """Inspect a table of texts and their translations, and propose a config.

    Args:
        data: The `data` section with the table, the target, and settings for reading the table.
        config: The file of the config.
        effort: The training effort, which determines the size of the network.

    Raises:
        DataError: The table cannot be read, there is no column of texts, or a source is missing; or the
            package `tokenizers` is not installed.
    """
    (target,) = target_columns(data)
    table = open_table(data, streamed=False).header
    names, problems = feature_columns(table, data)
    if problems:
        raise DataError(problems)
    source = _source_column(table, names, target)
    if _has_words_for_missing(table, data, [source, target]):
        data = _without_null_values(data)
        table = open_table(data, streamed=False).header
    check_sources(table, source, table.frame[target].is_not_null().to_numpy())
    pairs = table.frame.select(source, target).drop_nulls()
    if pairs.height < 2:
        expected, found = "texts and their translations", pluralize(pairs.height, "row")
        raise DataError(Problem(table.name, expected, found))
    recipe = choose_translation_recipe(pairs[source], pairs[target], effort)
    others = [name for name in names if name != source]
    findings = TableFindings(
        files=table.files,
        rows=pairs.height,
        target=(target,),
        task="translate",
        reason=f"from '{source}' to '{target}', of {recipe.lengths} on average",
        classes={},
        number_formats={},
        order=None,
        duplicates=0,
        columns=tuple(ColumnFinding(name, None, 0, 0, "not the source", None) for name in others),
        warnings=table.warnings,
    )
    lines = [
        *_head(config, source, target),
        *_data_lines(data, config, findings, source, recipe),
        *_network_lines(recipe, has_validation=pairs.height >= _MIN_PAIRS),
    ]
    return Proposal("\n".join(lines) + "\n", findings)


def are_translations(findings: TableFindings) -> bool:
    """Return whether a table with classes looks like texts and their translations instead.

    The values of the target are mostly different, and either lines of parallel files, or sentences
    beside a single column of texts.
    """
    if len(findings.classes) <= max(_MIN_DISTINCT, _DISTINCT_SHARE * findings.rows):
        return False
    if parallel_files(Path(findings.files[0].path)):
        return True
    used = [column for column in findings.columns if column.exclude is None]
    if [column.kind for column in used] != ["text"]:
        return False
    return are_sentences(list(findings.classes)[:_INSPECTED])


def _source_column(table: Table, names: Sequence[str], target: str) -> str:
    """Return the column that is translated: of texts, with the most different values, then words.

    Raises:
        DataError: There is no column of texts.
    """
    texts = {}
    for name in names:
        series = table.frame[name]
        known = series.drop_nulls()
        if series.dtype != pl.String or not len(known):
            continue
        if known.str.contains(_LETTER).sum() > _LETTERS * len(known):
            words = known.str.count_matches(r"\S+").to_numpy()
            texts[name] = (known.n_unique(), float(np.mean(words)))
    if not texts:
        expected, fix = f"a column of texts besides '{target}'", "add it, or change --target"
        raise DataError(Problem(table.name, expected, "no such column", fix))
    return max(texts, key=lambda name: texts[name])


def _without_null_values(data: Data) -> Data:
    csv = data.csv.model_copy(update={"null_values": []})
    return data.model_copy(update={"csv": csv})


def _has_words_for_missing(table: Table, data: Data, names: Sequence[str]) -> bool:
    """Return whether cells are read as missing that have words: NA, None, null."""
    counts = {name: table.frame[name].null_count() for name in names}
    is_default = data.csv.null_values == type(data.csv)().null_values
    if "csv" not in table.formats or not is_default or not any(counts.values()):
        return False
    plain = open_table(_without_null_values(data), streamed=False).header.frame
    return any(plain[name].null_count() < count for name, count in counts.items())


def _head(config: ConfigFile, source: str, target: str) -> list[str]:
    return [
        f"# Translates {comment_text(source)} to {comment_text(target)}, by a transformer encoder and "
        "decoder.",
        "#",
        f"#   {config.command('check')}    show vocabulary, lengths, parameters and memory",
        f"#   {config.command('fit')}      train, evaluate, write a run directory",
        "#",
        "# All settings and their defaults: trainer schema --markdown",
        *config.name_lines(),
    ]


def _data_lines(
    data: Data,
    config: ConfigFile,
    findings: TableFindings,
    source: str,
    recipe: TranslationRecipe,
) -> list[str]:
    (target,) = findings.target
    tokens = {"tokenizer": "bpe", "max_tokens": recipe.tokens, "length": recipe.length}
    part = 0.1 if findings.rows >= _MIN_PAIRS else 0.0
    lines = [
        "data:",
        f"  source: {scalar_text(config.source)}  # {findings.rows:,} pairs of {recipe.lengths} on "
        "average",
    ]
    for name, value in non_default_read_options(data).items():
        about = "  # None, NA and null are texts" if value == {"null_values": []} else ""
        lines.append(f"  {name}: {flow_text(value)}{about}")
    lines += [f"  target: {scalar_text(target)}", "  task: translate"]
    if findings.columns:
        lines.append(f"  features: {flow_text({'include': [exact_pattern(source)]})}  # the source")
    if recipe.shares_vocabulary:
        lines.append("  shared_vocabulary: true  # both texts have the same letters")
    return [
        *lines,
        f"  tokens: {flow_text(tokens)}  # parts of words; 99.5% of the texts are not longer",
        f"  split: {flow_text({'test': part, 'validation': part})}  # rows with the same source are in "
        "the same split",
    ]


def _network_lines(recipe: TranslationRecipe, *, has_validation: bool) -> list[str]:
    network = {
        "layers": recipe.layers, "heads": recipe.heads, "width": recipe.width,
        "feed_forward": 2 * recipe.width, "dropout": recipe.dropout,
    }  # fmt: skip
    optimizer: Mapping[str, object] = {
        "name": "adam", "learning_rate": recipe.learning_rate,
        "schedule": {"cosine": {"warmup": f"{recipe.warmup} steps"}},
    }  # fmt: skip
    stopping = {"monitor": recipe.monitor, "patience": recipe.patience}
    decoding = {"beam": recipe.beam, "length_penalty": 0.6}
    about = "texts that are continued at the same time; 1 is faster, 4 usually better"
    return [
        "model:",
        f"  encoder_decoder: {flow_text(network)}",
        "loss: {label_smoothing: 0.1}",
        f"optimizer: {flow_text(optimizer)}",
        "fit:",
        f"  epochs: {recipe.epochs}",
        f"  batch_size: {recipe.batch_size}",
        *([f"  early_stopping: {flow_text(stopping)}"] if has_validation else []),
        f"evaluate: {{decoding: {flow_text(decoding)}}}  # {about}",
    ]
