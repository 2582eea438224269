"""Suggest the name that was probably meant: by its spelling, or by the names in other tools."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from trainer.config.augment import AUGMENT_KINDS
from trainer.config.layers.kinds import LAYER_KINDS
from trainer.config.losses import LOSSES
from trainer.errors import did_you_mean

_KEYS = {
    "learning_rate": "lr eta step_size learning_rate_init base_lr initial_learning_rate",
    "batch_size": "batchsize batch bs minibatch minibatch_size train_batch_size",
    "epochs": "num_epochs n_epochs max_epochs nb_epoch epoch iterations max_iter n_iter",
    "steps": "max_steps num_steps total_steps n_steps train_steps",
    "units": "hidden neurons nodes size width out_features hidden_units num_units output_size dim",
    "activation": "act activation_function nonlinearity activation_fn",
    "rate": "p prob probability drop dropout_rate",
    "use_bias": "bias with_bias",
    "optimizer": "opt solver optimiser optim",
    "loss": "criterion objective loss_function loss_fn cost",
    "metrics": "metric measures scores",
    "seed": "random_state random_seed rng manual_seed",
    "model": "network architecture net",
    "layers": "hidden_layers hidden_layer_sizes hidden_sizes layer",
    "augment": "augmentation augmentations data_augmentation transforms transform",
    "head": "output output_layer last_layer final_activation output_activation",
    "data": "dataset inputs datasets",
    "source": "path file files filename csv_path data_path dataset csv_file table input",
    "target": "label labels y output target_column label_column targets outputs output_features",
    "target_separator": "label_separator target_delimiter target_sep multilabel_separator",
    "positive": "positive_class pos_label positive_label",
    "features": "input_features feature_columns inputs x columns",
    "validation": "val valid val_split validation_split val_size validation_size val_fraction dev",
    "test": "test_size test_split test_fraction holdout",
    "fold": "k_fold",
    "by": "method strategy kind type mode stratify stratified",
    "fit": "training train trainer learn",
    "folds": "k_folds num_folds n_folds n_splits cv k_fold cross_validation cross_validate",
    "repeats": "n_repeats num_repeats restarts n_seeds seeds ensemble_size",
    "evaluate": "eval evaluation",
    "runtime": "hardware backend accelerator system",
    "clip_norm": "clipnorm grad_clip gradient_clip max_grad_norm gradient_clip_norm clip",
    "global_clip_norm": "global_clipnorm gradient_clip_val clip_grad_norm",
    "clip_value": "clipvalue gradient_clip_value",
    "weight_decay": "wd decay",
    "gradient_accumulation_steps": "accumulate_grad_batches accumulation_steps",
    "ema": "use_ema moving_average",
    "schedule": "scheduler lr_scheduler lr_schedule learning_rate_schedule decay_schedule",
    "warmup": "warmup_steps warmup_epochs num_warmup_steps",
    "every": "decay_steps step_size period interval",
    "over": "decay_steps t_max total total_steps length",
    "first": "t_0 first_decay_steps",
    "factor": "decay_rate gamma multiplier alpha t_mult t_mul",
    "peak_factor": "m_mul",
    "final": "alpha end_learning_rate eta_min min_lr",
    "at": "boundaries milestones",
    "factors": "values",
    "epsilon": "eps",
    "rho": "alpha",
    "scale": "scaler normalize normalise scaling normalization normalisation standardize",
    "impute": "imputer fillna missing fill imputation missing_values",
    "constant": "fill_value value",
    "indicator": "add_indicator missing_indicator",
    "piecewise_bins": "n_bins bins n_knots knots kbins discretize",
    "target_mean": "target_encoding target_encoder mean_encoding",
    "encode": "encoding encoder",
    "dimension": "embedding_dim embedding_size dim output_dim",
    "min_count": "min_frequency",
    "max_levels": "max_categories vocab_size most_common",
    "unknown": "handle_unknown oov",
    "levels": "order categories ordering category_order ordered values",
    "ignore_case": "case_insensitive lowercase casefold merge_spellings",
    "separator": "sep delimiter",
    "quote": "quotechar quote_char",
    "null_values": "na_values nulls missing_values",
    "decimal_comma": "decimal",
    "device": "gpu cpu accelerator",
    "precision": "dtype mixed_precision dtype_policy fp16",
    "threads": "n_jobs num_threads workers num_workers cores",
    "weight": "sample_weight weights weight_column",
    "class_weight": "class_weights",
    "compress": "compression shrink smaller",
    "prune": "pruning sparsify magnitude_pruning",
    "sparsity": "final_sparsity amount fraction ratio",
    "cluster": "clustering weight_clustering weight_sharing",
    "clusters": "number_of_clusters n_clusters num_clusters k",
    "quantize": "quantization quantise quantisation qat",
    "early_stopping": "earlystop early_stop earlystopping stop_early",
    "reduce_on_plateau": "reduce_lr reduce_lr_on_plateau reducelronplateau plateau",
    "restore_best": "restore_best_weights save_best",
    "start_epoch": "start_from_epoch",
    "min_learning_rate": "min_lr",
    "min_delta": "tol tolerance threshold",
    "pretrained": "base base_model backbone transfer transfer_learning pretrained_model",
    "frozen": "freeze trainable unfreeze",
    "warm_start": "initial_weights resume_from load_weights from_run",
    "checkpoint": "checkpoints save model_checkpoint",
    "kernel_regularizer": "regularizer regularization regulariser weight_regularizer l2 l1",
    "kernel_initializer": "initializer init weight_init weights_init",
    "kernel_constraint": "constraint",
    "label_smoothing": "smoothing",
    "threshold": "decision_threshold cutoff",
    "duplicates": "drop_duplicates",
    "outliers": "outlier",
    "jit_compile": "xla",
    "confidence_level": "level confidence alpha",
    "prediction_interval": "coverage interval",
    "resamples": "n_resamples bootstrap_resamples n_bootstrap",
    "momentum": "alpha momentum_rate",
    "beta_1": "b1 betas",
    "beta_2": "b2",
    "name": "type kind class_name",
    "extends": "base inherit inherits include parent defaults",
}
_VALUES: dict[str, str] = {
    **{kind.kind: kind.aliases for kind in (*LAYER_KINDS, *AUGMENT_KINDS)},
    **{name: kind.aliases for name, kind in LOSSES.items()},
    "auc": "roc_auc auroc roc",
    "average_precision": "ap pr_auc auprc aucpr",
    "accuracy": "acc binary_accuracy categorical_accuracy",
    "f1": "f1_score fscore macro_f1",
    "recall": "sensitivity tpr",
    "specificity": "tnr",
    "mcc": "matthews matthews_corrcoef",
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "rmse": "root_mean_squared_error",
    "mape": "mean_absolute_percentage_error",
    "r2": "r_squared r2_score",
    "log_loss": "logloss cross_entropy crossentropy nll loss",
    "brier": "brier_score",
    "top_5_accuracy": "top_k_categorical_accuracy top5",
    "he_normal": "he kaiming kaiming_normal",
    "he_uniform": "kaiming_uniform",
    "glorot_uniform": "xavier xavier_uniform glorot",
    "glorot_normal": "xavier_normal",
    "random_normal": "normal",
    "random_uniform": "uniform",
    "gpu": "cuda cuda:0 tpu",
    "mixed_float16": "float16 fp16 half 16",
    "mixed_bfloat16": "bfloat16 bf16",
    "float32": "fp32 float 32",
    "minmax": "min_max min_max_scaler normalize",
    "standard": "zscore z_score standardize standard_scaler normal",
    "none": "null off false no identity",
    "multiclass": "classification categorical",
    "binary": "classification",
    "regression": "numeric continuous numerical",
    "numeric": "number float int integer numerical continuous",
    "categorical": "category string str text enum",
    "boolean": "bool",
    "datetime": "date time timestamp",
    "most_frequent": "mode",
    "onehot": "dummy one_hot_encoding",
    "ordinal": "label integer",
    "windows-1252": "cp1252 ansi",
    "latin-1": "iso-8859-1 iso8859-1 latin1",
    "stratified": "stratify class label",
    "random": "shuffle",
    "group": "groups group_kfold",
    "time": "date chronological temporal",
    "iqr": "tukey",
    "zscore": "z std sigma",
    "sgd": "gradient_descent momentum",
    "sigmoid": "binary logistic",
    "softmax": "multiclass",
    "linear": "none identity regression",
    "silu": "swish1",
    "auto": "default",
}


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character not in "_- .")


def _same_spelling(name: str, known: Iterable[str]) -> str | None:
    return next((candidate for candidate in known if _plain(candidate) == _plain(name)), None)


def _alias(name: str, known: Sequence[str], table: dict[str, str]) -> str | None:
    plain_name = _plain(name)
    for candidate in known:
        others = table[candidate].split() if candidate in table else []
        if plain_name in {_plain(other) for other in others}:
            return candidate
    return None


def _similar(name: str, known: Sequence[str], cutoff: float) -> str | None:
    suggestion = did_you_mean(name, known).removeprefix("did you mean '").removesuffix("'?")
    if not suggestion or SequenceMatcher(None, _plain(name), _plain(suggestion)).ratio() < cutoff:
        return None
    return suggestion


def suggest_key(name: str, known: Sequence[str], elsewhere: dict[str, str]) -> str | None:
    """Return the setting that was probably meant.

    Args:
        name: The name as written.
        known: The settings of the section.
        elsewhere: Name → dotted key of the settings of all sections.
    """
    match = _same_spelling(name, known) or _alias(name, known, _KEYS)
    if match is not None:
        return match
    near = _similar(name, known, 0.75)
    if near is not None:
        return near
    names = list(elsewhere)
    match = _same_spelling(name, names) or _alias(name, names, _KEYS)
    if match is not None:
        return elsewhere[match]
    near = _similar(name, known, 0.6)
    if near is not None:
        return near
    match = _similar(name, names, 0.85)
    return elsewhere[match] if match is not None else None


def suggest_value(name: str, known: Sequence[str]) -> str | None:
    """Return the value that was probably meant."""
    return _same_spelling(name, known) or _alias(name, known, _VALUES) or _similar(name, known, 0.6)
