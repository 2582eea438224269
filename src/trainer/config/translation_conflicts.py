"""Settings that contradict `task: translate`, or need it."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.data import Data
from trainer.config.metrics import METRICS
from trainer.config.nodes import column_key
from trainer.config.resolve import monitored_metrics
from trainer.config.schema import Config
from trainer.config.tokens import PIECES
from trainer.config.translation import encoder_decoder, translates

_KEY = "model.encoder_decoder"


def translation_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield settings that contradict `task: translate`, or need it."""
    if translates(config.data):
        yield from _network_conflicts(config)
        yield from _token_conflicts(config.data)
        yield from _data_conflicts(config.data)
        yield from _other_conflicts(config)
        return
    set_without_task = {
        _KEY: config.model.encoder_decoder is not None,
        "data.target_tokens": config.data.target_tokens is not None,
        "data.shared_vocabulary": config.data.shared_vocabulary,
        "evaluate.decoding": differs_from_default(config.evaluate, "decoding"),
        "fit.batch_tokens": config.fit.batch_tokens is not None,
    }
    for key, is_set in set_without_task.items():
        if is_set:
            found = f"task: {config.data.task}"
            fix = "set data.task: translate, or remove it"
            yield conflict(key, "task: translate", found, fix, "data.task")


def _network_conflicts(config: Config) -> Iterator[Conflict]:
    model = config.model
    settings = encoder_decoder(model)
    for name in ("layers", "pretrained", "augment", "output_bias", "head_initializer",
                 "head_regularizer"):  # fmt: skip
        if differs_from_default(model, name):
            expected = f"no {name} with task: translate, whose network is {_KEY}"
            yield conflict(f"model.{name}", expected, "a value", "remove it", "data.task")
    if settings.width % settings.heads:
        expected = f"a number of heads that divides the width, {settings.width}"
        found, fix = f"{settings.heads}", "change heads or width"
        yield conflict(f"{_KEY}.heads", expected, found, fix, f"{_KEY}.width")
    if settings.width % 2:
        expected, found = "an even width", f"{settings.width}"
        yield conflict(f"{_KEY}.width", expected, found, f"set it to {settings.width + 1}")
    data = config.data
    has_same_file = data.tokens.vocabulary is not None and data.target_tokens is None
    if settings.tied == "all" and not (data.shared_vocabulary or has_same_file):
        expected = "a shared vocabulary for tied vectors of source and target"
        found, fix = "data.shared_vocabulary: false", "set it to true, or tied: output"
        yield conflict(f"{_KEY}.tied", expected, found, fix, "data.shared_vocabulary")


def _token_conflicts(data: Data) -> Iterator[Conflict]:
    sections = {"data.tokens": data.tokens}
    if data.target_tokens is not None:
        sections["data.target_tokens"] = data.target_tokens
    for key, tokens in sections.items():
        if tokens.tokenizer not in (*PIECES, "auto"):
            expected = "wordpiece or bpe, whose tokens are written as text again"
            fix = "set it to bpe"
            yield conflict(f"{key}.tokenizer", expected, tokens.tokenizer, fix, "data.task")
        if tokens.special_tokens is False:
            expected, fix = "special tokens, which start and end a text", "remove it"
            yield conflict(f"{key}.special_tokens", expected, "false", fix, "data.task")
        if tokens.pad == "start":
            expected, fix = "padding at the end, as texts are written from their start", "remove it"
            yield conflict(f"{key}.pad", expected, "start", fix, "data.task")
        if differs_from_default(tokens, "dimension"):
            expected = f"no dimension with task: translate, whose vectors have {_KEY}.width"
            yield conflict(
                f"{key}.dimension", expected, f"{tokens.dimension}", "remove it", "data.task"
            )
    if data.shared_vocabulary and data.target_tokens is not None:
        if data.target_tokens.model_copy(update={"length": data.tokens.length}) != data.tokens:
            expected = "the settings of data.tokens, except for length, with a shared vocabulary"
            yield conflict(
                "data.target_tokens", expected, "others", "remove them", "data.shared_vocabulary"
            )
    elif data.shared_vocabulary and data.tokens.vocabulary is not None:
        expected = "a shared vocabulary of the training rows, or a file for source and target"
        fix = "remove shared_vocabulary: both columns have the vocabulary of the file"
        yield conflict("data.shared_vocabulary", expected, "both", fix, "data.tokens.vocabulary")


def _data_conflicts(data: Data) -> Iterator[Conflict]:
    if not isinstance(data.target, str) and len(data.target) > 1:
        expected, found = "one target column for task: translate", f"{len(data.target)} columns"
        yield conflict("data.target", expected, found, "name one column", "data.task")
    targets = [data.target] if isinstance(data.target, str) else data.target
    for name, column in data.columns.items():
        if name not in targets and column.kind not in (None, "tokens"):
            key = f"{column_key(name)}.kind"
            expected = "tokens, the kind of the source of task: translate"
            yield conflict(key, expected, f"{column.kind}", "remove it", "data.task")
    if data.weight is not None:
        expected = "no weights of rows with task: translate"
        yield conflict("data.weight", expected, f"'{data.weight}'", "remove it", "data.task")


def _other_conflicts(config: Config) -> Iterator[Conflict]:
    fit, evaluate = config.fit, config.evaluate
    if config.loss.name not in ("auto", "categorical_crossentropy"):
        expected = "categorical_crossentropy, the loss of task: translate"
        yield conflict("loss.name", expected, config.loss.name, "set loss: auto", "data.task")
    several = "one network with task: translate, as texts have no mean"
    if fit.batch_tokens is not None and differs_from_default(fit, "batch_size"):
        expected = "either batch_size, in rows, or batch_tokens"
        yield conflict(
            "fit.batch_tokens", expected, "both", "remove one of the two", "fit.batch_size"
        )
    refused = {
        "fit.repeats": (fit.repeats > 1, several),
        "fit.folds": (fit.folds is not None, several),
        "fit.callbacks": (bool(fit.callbacks), "no callbacks with task: translate"),
        "fit.warm_start": (fit.warm_start is not None, "new weights with task: translate"),
        "evaluate.decisions_from": (
            evaluate.decisions_from is not None,
            "no decisions of another run, as texts have no threshold",
        ),
        "compress": (config.compress.is_set, "no compression with task: translate"),
        "evaluate.slices": (bool(evaluate.slices), "no slices with task: translate"),
        "evaluate.importance": (
            evaluate.importance is True,
            "no permutation importance, as there is one source column",
        ),
        "evaluate.baselines": (
            evaluate.baselines != "auto",
            "auto with task: translate: a copy of the source, and the translation of the most "
            "similar training text",
        ),
        "runtime.engine": (
            config.runtime.engine == "streaming",
            "rows in memory with task: translate",
        ),
    }
    for key, (is_set, expected) in refused.items():
        if is_set:
            yield conflict(key, expected, "another value", "remove it", "data.task")
    yield from _monitor_conflicts(config)


def _monitor_conflicts(config: Config) -> Iterator[Conflict]:
    for key, metric in monitored_metrics(config.fit):
        info = METRICS.get(metric)  # type: ignore[call-overload]
        if info is not None and info.needs_decoding:
            expected = "a metric of the validation rows, as training rows are not translated"
            yield conflict(key, expected, f"'{metric}'", f"set it to val_{metric}", "data.task")
