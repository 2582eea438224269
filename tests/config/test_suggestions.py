from __future__ import annotations

from trainer.config.data import Data
from trainer.config.matching import keys_by_name
from trainer.config.schema import Config, Fit
from trainer.config.suggestions import suggest_key, suggest_value

ELSEWHERE = keys_by_name()


def key(name: str, section: type[Config | Fit | Data]) -> str | None:
    return suggest_key(name, list(section.model_fields), ELSEWHERE)


def test_suggestions_by_spelling_then_aliases_then_other_sections() -> None:
    assert key("Batch-Size", Fit) == "batch_size"
    assert key("num_epochs", Fit) == "epochs"
    assert key("batchsize", Data) == "fit.batch_size"
    assert key("validation_split", Data) == "data.split.validation"
    assert key("n_splits", Fit) == "folds"
    assert key("k_folds", Config) == "fit.folds"
    assert key("n_repeats", Fit) == "repeats"
    assert key("seed", Fit) == "seed"
    assert key("learning_rate", Fit) == "optimizer.learning_rate"
    assert key("earlystopping", Config) == "fit.early_stopping"
    assert key("qwxyz", Config) is None


def test_keys_by_name_are_full_keys() -> None:
    assert ELSEWHERE["epochs"] == "fit.epochs"
    assert ELSEWHERE["patience"] == "fit.early_stopping.patience"
    assert "units" not in ELSEWHERE


def test_values() -> None:
    assert suggest_value("ReLU", ["relu", "elu"]) == "relu"
    assert suggest_value("mse", ["mean_squared_error"]) == "mean_squared_error"
    assert suggest_value("mean_squared_error", ["mse", "mae"]) == "mse"
    assert suggest_value("qwxyz", ["relu"]) is None
