from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.advice import alternatives, unsolved
from trainer.config.conflicts import find_conflicts, is_class, task_conflicts
from trainer.config.data import class_text
from trainer.config.dump import dump_config
from trainer.config.load import load_config
from trainer.config.model import HeadKind
from trainer.config.nodes import Source, to_python
from trainer.config.resolve import resolved_head
from trainer.config.schema import Config
from trainer.config.yaml_reader import parse_yaml
from trainer.errors import ConfigError, Problem
from trainer.task_names import TaskName


def config(text: str) -> Config:
    root = parse_yaml("data: {source: x.csv, target: y}\n" + text, Source("c.yaml", Path())).root
    assert root is not None
    return Config.model_validate(to_python(root))


def data(text: str) -> Config:
    root = parse_yaml(f"data: {{source: x.csv, target: y, {text}}}", Source("c.yaml", Path()))
    assert root.root is not None, root.problems
    return Config.model_validate(to_python(root.root))


NAMED = "data: {{target: y, source: {{train: a, {0}}}, {1}}}"


def named(source: str, rest: str) -> Config:
    root = parse_yaml(NAMED.format(source, rest), Source("c.yaml", Path())).root
    assert root is not None
    return Config.model_validate(to_python(root))


LITE = "architecture: efficientnet_lite0"


def pretrained(base: str, image: str = "image: {size: 64}") -> Config:
    """Return the config of a network with a base for a column of images."""
    return data(f"columns: {{a: {{kind: image}}}}, {image}}}\nmodel: {{pretrained: {base}")


def conflict_problems(cfg: Config) -> list[Problem]:
    return [conflict.problem for conflict in find_conflicts(cfg)]


def conflicts_of(cfg: Config) -> list[tuple[str, str, str]]:
    return [(problem.key, problem.expected, problem.found) for problem in conflict_problems(cfg)]


STOP = "fit: {early_stopping: {monitor: "


@pytest.mark.parametrize(
    ("cfg", "key", "expected"),
    [
        (
            config("optimizer: {clip_norm: 1, clip_value: 1}"),
            "optimizer.clip_value",
            "one kind of clipping",
        ),
        (
            config("optimizer: {clip_norm: 1, global_clip_norm: 1}"),
            "optimizer.global_clip_norm",
            "one kind of clipping",
        ),
        (
            config("optimizer: {name: sgd, nesterov: true}"),
            "optimizer.nesterov",
            "a momentum above 0",
        ),
        (
            config("optimizer: {schedule: cosine}\nfit: {reduce_on_plateau: 3}"),
            "fit.reduce_on_plateau",
            "either a schedule or",
        ),
        (
            config("optimizer: {name: schedule_free_adamw, schedule: cosine}"),
            "optimizer.schedule",
            "no schedule",
        ),
        (
            config("optimizer: {schedule: {piecewise: {at: [1 epoch], factors: [1, 2]}}}"),
            "optimizer.schedule.piecewise.factors",
            "one factor for each time",
        ),
        (
            config(
                "optimizer: {schedule: {piecewise: {at: [2 epochs, 1 epoch], factors: [1, 2]}}}"
            ),
            "optimizer.schedule.piecewise.at",
            "a time after 2 epochs",
        ),
        (config("fit: {epochs: 1, steps: 1}"), "fit.steps", "either epochs or steps"),
        (
            config("compress: {prune: {sparsity: 0.5, start: 0.6}}"),
            "compress.prune.end",
            "a time after compress.prune.start, 0.6",
        ),
        (
            config("compress: {prune: {sparsity: 0.5, end: 0.8}, cluster: 16}"),
            "compress.cluster.start",
            "a time not before compress.prune.end, 0.8",
        ),
        (
            config("compress: {quantize: int8}\noptimizer: {ema: 0.9}"),
            "optimizer.ema",
            "no average of the weights",
        ),
        (
            config("compress: {prune: 0.5}\noptimizer: ftrl"),
            "optimizer.name",
            "an optimizer that adds its steps",
        ),
        (
            pretrained(f"{{{LITE}}}}}\ncompress: {{prune: 0.5"),
            "model.pretrained.frozen",
            "a pretrained network all of whose weights are trained",
        ),
        (
            config("fit: {epochs: 5, early_stopping: {start_epoch: 6}}"),
            "fit.early_stopping.start_epoch",
            "an epoch of training: at most 5",
        ),
        (
            config("fit: {reduce_on_plateau: {min_learning_rate: 0.1}}"),
            "fit.reduce_on_plateau.min_learning_rate",
            "less than optimizer.learning_rate, 0.001",
        ),
        (
            config(STOP + "val_acuracy}}"),
            "fit.early_stopping.monitor",
            "a computed metric",
        ),
        (
            config("metrics: [auc]\n" + STOP + "val_f1}}"),
            "fit.early_stopping.monitor",
            "a computed metric",
        ),
        (
            config("fit: {reduce_on_plateau: {monitor: val_x}}"),
            "fit.reduce_on_plateau.monitor",
            "a computed metric",
        ),
        (
            config("fit: {checkpoint: {monitor: val_x}}"),
            "fit.checkpoint.monitor",
            "a computed metric",
        ),
        (
            data("split: {validation: 0}}\nfit: {early_stopping: 3").model_copy(),
            "fit.early_stopping.monitor",
            "a training metric, as there are no validation rows",
        ),
        (
            config("loss: {name: huber, label_smoothing: 0.1}"),
            "loss.label_smoothing",
            "label_smoothing only with",
        ),
        (config("loss: {gamma: 1}"), "loss.gamma", "gamma only with"),
        (config("loss: {alpha: 1}"), "loss.alpha", "alpha only with"),
        (config("loss: {name: poisson, delta: 2}"), "loss.delta", "delta only with huber"),
        (
            config("loss: {name: quantile, quantiles: [0.9, 0.1]}"),
            "loss.quantiles",
            "increasing numbers",
        ),
        (
            config("loss: {name: huber, quantiles: [0.1]}"),
            "loss.quantiles",
            "quantiles only with quantile",
        ),
        (
            config("loss: kl_divergence\nmodel: {head: sigmoid}"),
            "loss",
            "a loss that fits the sigmoid head",
        ),
        (
            config("model: {layers: [reshape: [-1, -1]]}"),
            "model.layers.0.reshape",
            "sizes of at least 1",
        ),
        (
            config("model: {layers: [reshape: [0]]}"),
            "model.layers.0.reshape",
            "sizes of at least 1",
        ),
        (
            config(
                "model: {layers: [dense: {units: 1, use_bias: false, bias_regularizer: {l2: 1}}]}"
            ),
            "model.layers.0.dense.bias_regularizer",
            "a layer with a bias",
        ),
        (
            config("model: {layers: [dense: {units: 1, bias_initializer: identity}]}"),
            "model.layers.0.dense.bias_initializer",
            "an initializer for one-dimensional variables",
        ),
        (
            config("model: {layers: [dense: {units: 1, bias_initializer: {orthogonal: 1}}]}"),
            "model.layers.0.dense.bias_initializer",
            "an initializer for one-dimensional variables",
        ),
        (
            config(
                "model: {layers: [dense: {units: 1, kernel_constraint: {min_max_norm: [2, 1]}}]}"
            ),
            "model.layers.0.dense.kernel_constraint.min_max_norm",
            "the smaller norm first",
        ),
        (
            config("model: {head_initializer: {random_uniform: {low: 1}}}"),
            "model.head_initializer.random_uniform",
            "a lower bound below",
        ),
        (data("target_scale: {z: log}"), "data.target_scale.z", "a column of data.target"),
        (data("split: {by: group}"), "data.split.by", "data.split.column with by: group"),
        (data("split: {by: time}"), "data.split.by", "data.split.column with by: time"),
        (data("split: {by: column}"), "data.split.by", "data.split.column with by: column"),
        (data("split: {column: a}"), "data.split.column", "no column, or by:"),
        (data("split: {column: a, by: stratified}"), "data.split.column", "no column, or by:"),
        (
            data("split: {column: y, by: group}"),
            "data.split.column",
            "a column other than the target",
        ),
        (
            data("split: {test: 0.5, validation: 0.5}"),
            "data.split",
            "test and validation fractions",
        ),
        (named("test: b", "split: {test: 0.3}"), "data.split.test", "no fraction of test rows"),
        (named("", "split: {test: 0.3}"), "data.split.test", "no fraction of test rows"),
        (
            named("validation: b", "split: {validation: 0.3}"),
            "data.split.validation",
            "no fraction of validation rows",
        ),
        (
            named("", "split: {by: column, column: c}"),
            "data.split.by",
            "a method other than column",
        ),
        (
            data("split: {fold: 1/5}}\nfit: {folds: 5"),
            "fit.folds",
            "either one fold or all of them",
        ),
        (
            data("split: {fold: 1/5, by: column, column: a}"),
            "data.split.fold",
            "no folds with data.split.by",
        ),
        (
            data("split: {by: column, column: a}}\nfit: {folds: 5"),
            "fit.folds",
            "no folds with data.split.by",
        ),
        (named("validation: v", "split: {fold: 1/5}"), "data.split.fold", "no folds, as data"),
        (
            config("fit: {repeats: 2}\nruntime: {engine: streaming}"),
            "fit.repeats",
            "one model with streaming",
        ),
        (
            config("fit: {folds: 2}\nruntime: {engine: streaming}"),
            "fit.folds",
            "one model with streaming",
        ),
        (data("format: parquet, csv: {separator: ;}"), "data.csv.separator", "csv settings only"),
        (data("csv: {separator: '\"'}"), "data.csv.quote", "a character other than"),
        (data('csv: {quote: "\'", escape: "\'"}'), "data.csv.escape", "a character other than"),
        (data("csv: {separator: ;, comment: ;;}"), "data.csv.comment", "text that does not start"),
        (
            data('csv: {separator: "\\n"}'),
            "data.csv.separator",
            "a character other than a line break",
        ),
        (data("csv: {names: [a, b, a]}"), "data.csv.names", "unique names"),
        (
            data("features: {include: [y]}"),
            "data.features.include",
            "features without the target",
        ),
        (
            data("features: {include: [a], exclude: [a]}"),
            "data.features.exclude",
            "columns that are not in",
        ),
        (
            data("features: {include: [a]}, weight: a"),
            "data.features.include",
            "features without the weight",
        ),
        (data("weight: y"), "data.weight", "a column other than the target"),
        (
            data("target_separator: '|', task: regression"),
            "data.target_separator",
            "task: multilabel",
        ),
        (data("target_separator: '|', task: binary"), "data.target_separator", "task: multilabel"),
        (
            data("columns: {a: {kind: numeric, encode: onehot}}"),
            "data.columns.a.encode",
            "settings of a numeric column",
        ),
        (
            data("columns: {a: {kind: categorical, scale: none}}"),
            "data.columns.a.scale",
            "settings of a categorical column",
        ),
        (
            data("columns: {a: {kind: boolean, scale: none}}"),
            "data.columns.a.scale",
            "settings of a boolean column",
        ),
        (
            data("columns: {a: {kind: datetime, encode: onehot}}"),
            "data.columns.a.encode",
            "settings of a datetime column",
        ),
        (
            data("columns: {a: {scale: none, encode: onehot}}"),
            "data.columns.a.encode",
            "settings of one kind",
        ),
        (
            data("columns: {a: {kind: numeric, impute: separate_level}}"),
            "data.columns.a.impute",
            "one of drop,",
        ),
        (
            data("columns: {a: {kind: categorical, impute: mean}}"),
            "data.columns.a.impute",
            "one of drop,",
        ),
        (
            data("columns: {a: {kind: numeric, impute: constant, constant: x}}"),
            "data.columns.a.constant",
            "a number for a numeric column",
        ),
        (
            data("columns: {a: {kind: categorical, impute: constant, constant: 1}}"),
            "data.columns.a.constant",
            "text for a categorical column",
        ),
        (
            data("columns: {a: {constant: 1}}"),
            "data.columns.a.constant",
            "a constant only with impute",
        ),
        (
            data("categorical: {encode: embedding, target_mean: true}"),
            "data.categorical.target_mean",
            "target_mean only with encode",
        ),
        (
            data("categorical: {encode: embedding}, columns: {a: {target_mean: true}}"),
            "data.columns.a.target_mean",
            "target_mean only with encode",
        ),
        (
            data("categorical: {target_mean: true}, columns: {a: {encode: embedding}}"),
            "data.columns.a.encode",
            "target_mean only with encode",
        ),
        (
            data("columns: {a: {dimension: 4}}"),
            "data.columns.a.dimension",
            "a dimension only with encode",
        ),
        (
            data("categorical: {dimension: 4}"),
            "data.categorical.dimension",
            "a dimension only with encode",
        ),
        (data("numeric: {constant: 1}"), "data.numeric.constant", "a constant only with impute"),
        (config("model: {pretrained: net.keras}"), "model.pretrained", "a folder of images"),
        (pretrained("{pool: max}"), "model.pretrained", "a file or an architecture"),
        (pretrained("mobilenet_v2"), "model.pretrained.architecture", "a file with the weights"),
        (pretrained(f"{{{LITE}, layer: conv}}"), "model.pretrained.layer", "no layer"),
        (pretrained(f"{{{LITE}}}", "image: {color: grey}"), "data.image.color", "rgb"),
        (pretrained(f"{{{LITE}}}", "image: {size: 31}"), "data.image", "images of at least 32"),
        (pretrained(f"{{{LITE}}}", "image: {scale: standardize}"), "data.image.scale", "no scale"),
        (
            pretrained(f"{{{LITE}, learning_rate_factor: 1.0}}"),
            "model.pretrained.learning_rate_factor",
            "no learning rate of a frozen network",
        ),
        (
            data("categorical: {constant: x}"),
            "data.categorical.constant",
            "a constant only with impute",
        ),
        (data("columns: {y: {scale: none}}"), "data.columns.y.scale", "no feature settings"),
        (data("task: regression}\nmetrics: [auc]\nmodel: {"), "metrics.0", "a metric for numbers"),
        (
            data("task: regression}\nmodel: {head: softmax"),
            "model.head",
            "linear, sigmoid, softplus or exponential",
        ),
        (
            data("task: binary}\nloss: kl_divergence\nmodel: {"),
            "loss",
            "a loss that fits the sigmoid head",
        ),
        (
            data("task: regression}\nfit: {class_weight: balanced"),
            "fit.class_weight",
            "class weights only",
        ),
    ],
)
def test_conflict(cfg: Config, key: str, expected: str, tmp_path: Path) -> None:
    ((where, message, _),) = conflicts_of(cfg)
    assert where == key
    assert message.startswith(expected)
    (problem,) = conflict_problems(cfg)
    assert problem.where == ""
    assert problem.found
    check_advice(cfg, problem, tmp_path / "config.yaml")


def check_advice(cfg: Config, problem: Problem, path: Path) -> None:
    """Check that the settings in a fix solve the problem and cause no other."""
    path.write_text(dump_config(cfg))
    wrong = as_dict(problem)
    for overrides in alternatives(wrong):
        left: tuple[Problem, ...] = ()
        try:
            load_config(path, overrides)
        except ConfigError as error:
            left = error.problems
        assert unsolved(wrong, overrides, [wrong], list(map(as_dict, left))) == []


def as_dict(problem: Problem) -> dict[str, str]:
    return {
        "where": problem.key,
        "expected": problem.expected,
        "found": problem.found,
        "fix": problem.fix,
    }


@pytest.mark.parametrize(
    "cfg",
    [
        config(""),
        config("optimizer: {name: sgd, nesterov: true, momentum: 0.9, clip_norm: 1}"),
        config("fit: {steps: 3, early_stopping: {monitor: val_auc}}"),
        config("metrics: [auc]\n" + STOP + "auc}}"),
        config("loss: {name: huber, delta: 2}\nmodel: {head: linear}"),
        config("loss: {label_smoothing: 0.1}"),
        data("split: {by: hash}"),
        data("split: {by: hash, column: a}"),
        data("split: {by: column, column: a, test: 0.9, validation: 0.9}"),
        data("split: {validation: 0}}\nfit: {early_stopping: {monitor: loss}"),
        named("validation: v", "split: {by: time, column: a}"),
        named("", "split: {validation: 0.5}"),
        named("", "split: {fold: 2/5}"),
        data("split: {fold: 2/5, validation: 0.2, seed: 3}"),
        data("split: {test: 0.9}}\nfit: {folds: 3"),
        data("split: {test: 0.9, fold: 2/3, by: time, column: a, seed: 3}"),
        config("fit: {repeats: 4, folds: 5, warm_start: x, early_stopping: 3}"),
        data("split: {fold: 2/5}}\nruntime: {engine: streaming"),
        data("categorical: {encode: embedding, dimension: 4}"),
        data(
            "categorical: {target_mean: true}, "
            "columns: {a: {encode: embedding, target_mean: false}}"
        ),
        data("columns: {a: {encode: embedding, dimension: 4}, y: {kind: numeric}}"),
        data("columns: {a: {kind: numeric, impute: constant, constant: 1}}"),
        data("numeric: {impute: constant, constant: 1}"),
        data("csv: {separator: ;, decimal_comma: true}"),
        data("csv: {decimal_comma: true}"),
        data("csv: {header: false, names: [a, b], comment: '#', skip: 2, escape: '\\'}"),
        data("task: regression, target_scale: none}\nloss: poisson\nmodel: {"),
        data("task: regression}\nloss: poisson\nmodel: {"),
        data("task: regression}\nloss: mean_absolute_percentage_error\nmodel: {"),
        data("task: regression, target_scale: {y: log}"),
        pretrained("net.keras", "image: {color: grey, scale: standardize}"),
        pretrained(f"{{{LITE}, frozen: 5 epochs, learning_rate_factor: 0.5}}"),
        data("task: regression, target_scale: none}\nmodel: {head: exponential"),
    ],
)
def test_no_conflict(cfg: Config) -> None:
    assert conflicts_of(cfg) == []
    text = dump_config(cfg)
    root = parse_yaml(text, Source("c.yaml", Path())).root
    assert root is not None
    assert conflicts_of(Config.model_validate(to_python(root))) == []


@settings(max_examples=60, deadline=None)
@given(drawn=st.data())
def test_find_conflicts_never_fails_for_valid_settings(
    drawn: st.DataObject, valid_settings: Any
) -> None:
    cfg = Config.model_validate(drawn.draw(valid_settings))
    for problem in conflict_problems(cfg):
        assert problem.key
        assert problem.expected
    for task in CLASSES:
        task_conflicts(cfg, task, resolved_head(cfg, task), ["a", "b"], True)


CLASSES: dict[TaskName, tuple[str, ...]] = {
    "binary": ("B", "M"),
    "multiclass": ("a", "b", "c"),
    "multilabel": (),
    "regression": (),
    "translate": (),
}


@pytest.mark.parametrize("task", CLASSES)
def test_defaults_fit_every_task(task: TaskName) -> None:
    head = resolved_head(config(""), task)
    assert task_conflicts(config(""), task, head, CLASSES[task], True) == []


@pytest.mark.parametrize(
    ("text", "task", "key", "expected"),
    [
        (
            "model: {head: softmax}",
            "regression",
            "model.head",
            "linear, sigmoid, softplus or exponential",
        ),
        ("model: {head: linear}", "binary", "model.head", "sigmoid or softmax for two classes"),
        ("model: {head: sigmoid}", "multiclass", "model.head", "softmax for more than two classes"),
        (
            "model: {head: softmax}",
            "multilabel",
            "model.head",
            "sigmoid for several yes/no columns",
        ),
        ("loss: categorical_crossentropy", "binary", "loss", "a loss that fits the sigmoid head"),
        (
            "model: {head: linear}\nloss: poisson",
            "regression",
            "loss",
            "a loss that fits the linear head",
        ),
        ("metrics: [rmse]", "binary", "metrics.0", "a metric for two classes"),
        ("metrics: [top_3_accuracy]", "multiclass", "metrics.0", "more than 3 classes"),
        ("metrics: [top_3_accuracy]", "binary", "metrics.0", "a metric for two classes"),
        ("evaluate: {threshold: 0.4}", "regression", "evaluate.threshold", "a threshold only for"),
        ("evaluate: {threshold: 0.4}", "multiclass", "evaluate.threshold", "a threshold only for"),
        (
            "evaluate: {threshold: f1}",
            "multilabel",
            "evaluate.threshold",
            "a number, as one threshold is used for all columns",
        ),
        ("evaluate: {calibrate: true}", "regression", "evaluate.calibrate", "calibration only for"),
        (
            "evaluate: {prediction_interval: 0.8}",
            "binary",
            "evaluate.prediction_interval",
            "a prediction interval only for numbers",
        ),
        (
            "fit: {class_weight: balanced}",
            "regression",
            "fit.class_weight",
            "class weights only for",
        ),
        (
            "fit: {class_weight: {B: 1, m: 2}}",
            "binary",
            "fit.class_weight.m",
            "a class of the target: B, M",
        ),
        ("fit: {class_weight: {B: 1}}", "binary", "fit.class_weight", "a weight for every class"),
        (STOP + "val_rmse}}", "binary", "fit.early_stopping.monitor", "a computed metric"),
    ],
)
def test_task_conflict(text: str, task: TaskName, key: str, expected: str) -> None:
    cfg = config(text)
    head: HeadKind = resolved_head(cfg, task)
    (problem,) = task_conflicts(cfg, task, head, CLASSES[task], True)
    assert problem.key == key
    assert problem.expected.startswith(expected)


@pytest.mark.parametrize(
    ("text", "task", "key"),
    [
        ("positive: X", "binary", "data.positive"),
        ("positive: M", "regression", "data.positive"),
        ("positive: a", "multiclass", "data.positive"),
        ("target_scale: standard", "binary", "data.target_scale"),
        ("target_scale: standard}\nmodel: {head: sigmoid", "regression", "data.target_scale"),
        ("target_scale: log}\nmodel: {head: exponential", "regression", "data.target_scale"),
        ("target_scale: power}\nmodel: {head: softplus", "regression", "data.target_scale"),
        ("target_scale: standard}\nloss: {name: poisson", "regression", "data.target_scale"),
        (
            "target_scale: {y: log}}\nloss: {name: mean_absolute_percentage_error",
            "regression",
            "data.target_scale.y",
        ),
        ("split: {by: stratified}", "regression", "data.split.by"),
    ],
)
def test_task_conflict_of_data(text: str, task: TaskName, key: str) -> None:
    cfg = data(text)
    head = resolved_head(cfg, task)
    (problem,) = task_conflicts(cfg, task, head, CLASSES[task], True)
    assert problem.key == key


def test_validation_metric_without_validation_rows() -> None:
    cfg = config("fit: {early_stopping: 3, checkpoint: {monitor: loss}}")
    (problem,) = task_conflicts(cfg, "binary", "sigmoid", ("a", "b"), False)
    assert problem.key == "fit.early_stopping.monitor"
    assert problem.fix == "set data.split.validation above 0, or monitor: loss"


def test_fix_names_what_to_add() -> None:
    (problem,) = conflict_problems(config("metrics: [auc]\n" + STOP + "val_f1}}"))
    assert problem.fix == "add f1 to metrics"
    (problem,) = conflict_problems(config("metrics: [auc]\n" + STOP + "val_aux}}"))
    assert problem.fix == "did you mean 'val_auc'?"


def test_is_class_accepts_other_notations() -> None:
    assert is_class(1, ("0", "1"))
    assert is_class(1.0, ("0", "1"))
    assert is_class(1, ("0.0", "1.0"))
    assert is_class(True, ("false", "true"))
    assert is_class(True, ("False", "True"))
    assert not is_class("M ", ("M", "B"))
    assert not is_class(2, ("a", "1"))
    assert [class_text(value) for value in (True, 1.0, 1.5, "x", 3)] == [
        "true",
        "1",
        "1.5",
        "x",
        "3",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "data.clean.duplicates: drop",
        "data.split.by: hash",
        "data.format: npz",
    ],
)
def test_streaming_conflict(text: str) -> None:
    key, _, value = text.partition(": ")
    tree: Any = {"data": {"source": "x.csv", "target": "y"}}
    *sections, last = key.split(".")
    inner = tree
    for name in sections:
        inner = inner.setdefault(name, {})
    inner[last] = value
    for engine, expected in (("streaming", [key]), ("auto", []), ("resident", [])):
        problems = conflict_problems(Config.model_validate(tree | {"runtime": {"engine": engine}}))
        assert [problem.key for problem in problems] == expected


@pytest.mark.parametrize(
    ("section", "task", "key"),
    [
        ("threshold: f1", "binary", "evaluate.threshold"),
        ("calibrate: true", "binary", "evaluate.calibrate"),
        ("calibrate: true", "multiclass", "evaluate.calibrate"),
        ("prediction_interval: 0.8", "regression", "evaluate.prediction_interval"),
    ],
)
def test_tuned_setting_needs_validation_rows(section: str, task: TaskName, key: str) -> None:
    def problems(text: str, has_validation: bool) -> list[Problem]:
        cfg = config(text)
        head = resolved_head(cfg, task)
        return task_conflicts(cfg, task, head, CLASSES[task], has_validation)

    (problem,) = problems(f"evaluate: {{{section}}}", False)
    assert (problem.key, problem.found) == (key, "none")
    assert not problems(f"evaluate: {{{section}}}", True)
    # One of the fixes works.
    assert "evaluate.decisions_from: RUN" in problem.fix
    assert not problems(f"evaluate: {{{section}, decisions_from: runs/x}}", False)


@pytest.mark.parametrize(
    ("split", "fix"),
    [
        ("validation: 0", "set data.split.validation above 0"),
        ("train_on_validation: true", "set data.split.train_on_validation: false"),
        ("by: column, column: part", "mark rows 'validation' in column 'part'"),
    ],
)
def test_validation_fix_depends_on_the_split(split: str, fix: str) -> None:
    cfg = data(f"split: {{{split}}}")
    evaluate = cfg.evaluate.model_copy(update={"calibrate": True})
    cfg = cfg.model_copy(update={"evaluate": evaluate})
    (problem,) = task_conflicts(cfg, "binary", "sigmoid", CLASSES["binary"], False)
    assert problem.fix.startswith(fix)


def test_train_on_validation_conflicts() -> None:
    folded = data("split: {train_on_validation: true}").model_dump(exclude_unset=True)
    folded["fit"] = {"folds": 3}
    (problem,) = conflict_problems(Config.model_validate(folded))
    assert problem.key == "data.split.train_on_validation"
    del folded["fit"]["folds"]
    folded["fit"]["repeats"] = 3  # as the message advises
    assert not conflict_problems(Config.model_validate(folded))
    (none,) = conflict_problems(data("split: {train_on_validation: true, validation: 0}"))
    assert none.key == "data.split.train_on_validation"
    assert not conflict_problems(data("split: {validation: 0}"))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ("{c: {levels: [a, b, a]}}", "data.columns.c.levels"),
        ("{c: {levels: [a, ' a']}}", "data.columns.c.levels"),
        ("{c: {levels: [1, 1.0]}}", "data.columns.c.levels"),
        ("{c: {levels: [a, A], ignore_case: true}}", "data.columns.c.levels"),
        ("{c: {levels: [a, b], min_count: 2}}", "data.columns.c.min_count"),
        ("{c: {levels: [a, b], max_levels: 2}}", "data.columns.c.max_levels"),
        ("{c: {levels: [a, b], unknown: rare}}", "data.columns.c.unknown"),
        ("{c: {levels: [a, b], kind: numeric}}", "data.columns.c.levels"),
        ("{c: {levels: [a, b], scale: none}}", "data.columns.c.levels"),
        ("{c: {levels: [a, b], impute: constant, constant: z}}", "data.columns.c.levels"),
        ("{c: {ignore_case: true, kind: numeric}}", "data.columns.c.ignore_case"),
        ("{y: {levels: [a, b]}}", "data.columns.y.levels"),
        ("{y: {ignore_case: true}}, task: regression", "data.columns.y.ignore_case"),
        ("{c: {levels: [a, A]}}", None),
        ("{c: {levels: [a, b], impute: constant, constant: b, encode: ordinal}}", None),
        ("{y: {ignore_case: true}}", None),
    ],
)
def test_level_conflict(settings: str, key: str | None) -> None:
    problems = conflict_problems(data(f"columns: {settings}"))
    assert [problem.key for problem in problems] == ([] if key is None else [key])


def test_target_separator_needs_one_column() -> None:
    text = "data: {source: x.csv, target: [y, z], target_separator: '|'}"
    root = parse_yaml(text, Source("c.yaml", Path())).root
    assert root is not None
    problems = conflict_problems(Config.model_validate(to_python(root)))
    assert [problem.key for problem in problems] == ["data.target_separator"]
