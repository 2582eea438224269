"""Intervals and baselines of translations."""

import numpy as np

from trainer.assessment.text_findings import (
    TranslatedTexts,
    metrics_by_length,
    nearest_targets,
    text_findings,
)
from trainer.config.schema import Config

SOURCES = ["open the file", "close it", "save", "a very long sentence of more than seven words"]
TARGETS = ["ouvrir le fichier", "fermer", "enregistrer", "une phrase de plus de sept mots"]


def make_config(**evaluate):
    data = {"source": "x.csv", "target": "fr", "task": "translate"}
    return Config(data=data, evaluate={"resamples": 200, **evaluate})


def test_the_nearest_training_text_is_the_most_similar_one():
    found = nearest_targets(["open the files", "SAVE", "zzz", "close"], SOURCES, TARGETS)
    assert found[:2] == ["ouvrir le fichier", "enregistrer"]
    assert found[2] == TARGETS[0]
    assert found[3] == "fermer"


def test_a_perfect_translation_is_better_than_a_copy():
    texts = TranslatedTexts(np.arange(4), SOURCES, TARGETS, TARGETS)
    findings = text_findings(
        make_config(), "fr", "13a", {"test": texts}, (SOURCES[:2], TARGETS[:2])
    )
    result = findings.splits["test"]
    assert findings.compared_metrics[0] == "bleu"
    assert result.metrics["chrf"].value == result.metrics["chrf"].low == 100
    assert result.vs_copy["chrf"].is_significant
    assert result.vs_copy["chrf"].low <= result.vs_copy["chrf"].value <= result.vs_copy["chrf"].high
    assert result.nearest["exact_match"] == 0.5
    assert "nrefs:1" in findings.notes[0]


def test_the_same_texts_do_not_differ():
    texts = TranslatedTexts(np.arange(4), SOURCES, TARGETS, SOURCES)
    findings = text_findings(
        make_config(), "fr", "13a", {"test": texts}, (SOURCES[:2], TARGETS[:2])
    )
    difference = findings.splits["test"].vs_copy["chrf"]
    assert (difference.value, difference.low, difference.is_significant) == (0, 0, False)


def test_metrics_by_length_cover_all_rows():
    texts = TranslatedTexts(np.arange(4), ["", *SOURCES[1:]], TARGETS, TARGETS)
    parts = metrics_by_length(texts, ["exact_match"], "13a")
    assert sum(part.rows for part in parts) == 4
    assert [part.first for part in parts] == [1, 7]
    assert parts[-1].last == 10
