"""Settings of `task: translate`, and what contradicts it."""

import pytest

from tests.config.test_conflicts import conflicts_of, data
from trainer.config.translation import with_translation_tokens

TASK = "task: translate"


def keys(text, rest=""):
    return {key for key, _, _ in conflicts_of(data(f"{TASK}, {text}".rstrip(", ") + rest))}


def test_the_defaults_have_no_conflicts():
    config = with_translation_tokens(data(TASK))
    assert not conflicts_of(config)
    tokens = config.data.tokens
    assert (tokens.tokenizer, tokens.lowercase, tokens.special_tokens) == ("bpe", False, True)
    assert tokens.pad == "end"


def test_a_vocabulary_file_keeps_its_own_rules():
    tokens = with_translation_tokens(data(f"{TASK}, tokens: {{vocabulary: v.txt}}")).data.tokens
    assert (tokens.tokenizer, tokens.lowercase, tokens.special_tokens) == ("auto", "auto", True)


@pytest.mark.parametrize(
    ("text", "rest", "key"),
    [
        ("tokens: {tokenizer: words}", "", "data.tokens.tokenizer"),
        ("target_tokens: {special_tokens: false}", "", "data.target_tokens.special_tokens"),
        ("tokens: {pad: start}", "", "data.tokens.pad"),
        ("tokens: {dimension: 8}", "", "data.tokens.dimension"),
        ("weight: w", "", "data.weight"),
        ("columns: {a: {kind: text}}", "", "data.columns.a.kind"),
        ("shared_vocabulary: true, tokens: {vocabulary: v.txt}", "", "data.shared_vocabulary"),
        ("shared_vocabulary: true, target_tokens: {min_count: 5}", "", "data.target_tokens"),
        ("", "}\nmodel: {layers: []", "model.layers"),
        ("", "}\nmodel: {encoder_decoder: {heads: 3}", "model.encoder_decoder.heads"),
        ("", "}\nmodel: {encoder_decoder: {width: 9, heads: 3}", "model.encoder_decoder.width"),
        ("", "}\nmodel: {encoder_decoder: {tied: all}", "model.encoder_decoder.tied"),
        ("", "}\nmodel: {head: sigmoid", "model.head"),
        ("", "}\nloss: {name: kl_divergence", "loss.name"),
        ("", "}\nmetrics: [accuracy]\nfit: {epochs: 1", "metrics.0"),
        ("", "}\nfit: {folds: 3", "fit.folds"),
        ("", "}\nfit: {batch_tokens: 99, batch_size: 9", "fit.batch_tokens"),
        ("", "}\nfit: {repeats: 2", "fit.repeats"),
        ("", "}\nfit: {early_stopping: {monitor: bleu}", "fit.early_stopping.monitor"),
        ("", "}\nevaluate: {calibrate: true", "evaluate.calibrate"),
        ("", "}\nevaluate: {importance: true", "evaluate.importance"),
        ("", "}\nevaluate: {baselines: [linear]", "evaluate.baselines"),
        ("", "}\nruntime: {engine: streaming", "runtime.engine"),
    ],
)
def test_conflicts_with_the_task(text, rest, key):
    assert key in keys(text, rest)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("shared_vocabulary: true", "data.shared_vocabulary"),
        ("target_tokens: {length: 9}", "data.target_tokens"),
        ("task: auto}\nmodel: {encoder_decoder: {layers: 1}", "model.encoder_decoder"),
        ("task: regression}\nevaluate: {decoding: 2", "evaluate.decoding"),
        ("task: regression}\nfit: {batch_tokens: 99", "fit.batch_tokens"),
    ],
)
def test_settings_that_need_the_task(text, key):
    assert key in {found for found, _, _ in conflicts_of(data(text))}
