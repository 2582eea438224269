"""Invalid configs and overrides are refused by check and fit with the location and the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer_cli.main import run

DATA = "data: {source: table.csv, target: answer}\n"

# name: (text after the data section, from line 2; parts of the message)
SETTINGS: dict[str, tuple[str, list[str]]] = {
    # misspelled keys, at every depth
    "section": ("modle:\n  layers: [dense]\n", ["config.yaml:2:1", "did you mean 'model'?"]),
    "key": ("fit:\n  epoch: 3\n", ["config.yaml:3:3 fit.epoch", "did you mean 'epochs'?"]),
    "key of a key": (
        "fit:\n  early_stopping: {patiance: 3}\n",
        ["config.yaml:3:20", "did you mean 'patience'?"],
    ),
    "layer kind": ("model:\n  layers:\n    - dens: 4\n", ["config.yaml:4:7", "'dense'"]),
    "layer setting": (
        "model:\n  layers:\n    - dense: {unit: 4}\n",
        ["config.yaml:4:15", "did you mean 'units'?"],
    ),
    "setting of a regularizer": (
        "model:\n  layers:\n    - dense: {units: 4, kernel_regularizer: {l3: 0.1}}\n",
        ["config.yaml:4:", "kernel_regularizer", "'l3'"],
    ),
    "schedule": ("optimizer: {schedule: {cosin: {}}}\n", ["config.yaml:2:24", "'cosine'"]),
    "setting of a schedule": (
        "optimizer:\n  schedule:\n    cosine: {warm_up: 5 epochs}\n",
        ["config.yaml:4:14", "did you mean 'warmup'?"],
    ),
    "setting of another optimizer": (
        "optimizer: {name: sgd, beta_1: 0.9}\n",
        ["config.yaml:2:24", "a setting of optimizer", "'beta_1'"],
    ),
    "setting in the wrong section": (
        "fit: {learning_rate: 0.1}\n",
        ["config.yaml:2:7", "optimizer.learning_rate"],
    ),
    # types and bounds
    "word in place of a number": ("fit: {epochs: many}\n", ["config.yaml:2:15", "found 'many'"]),
    "fraction in place of a count": ("fit: {epochs: 2.5}\n", ["config.yaml:2:15", "2.5"]),
    "number in quotes": ("seed: '7'\n", ["config.yaml:2:7 seed", "write 7"]),
    "yes in place of true": ("fit: {shuffle: yes}\n", ["config.yaml:2:16", "write true"]),
    "list in place of a mapping": (
        "fit: [1, 2]\n",
        ["config.yaml:2:6 fit", "a mapping with epochs", "found a list"],
    ),
    "mapping in place of a number": ("seed: {a: 1}\n", ["config.yaml:2:7 seed"]),
    "negative count": ("fit: {batch_size: -1}\n", ["config.yaml:2:19", "from 1 to"]),
    "learning rate of zero": ("optimizer: {learning_rate: 0}\n", ["config.yaml:2:28", "above 0"]),
    "not a number": ("optimizer: {learning_rate: .nan}\n", ["config.yaml:2:28"]),
    "infinite": ("optimizer: {learning_rate: .inf}\n", ["config.yaml:2:28"]),
    "number of 5,000 digits": ("seed: 1" + "0" * 5000 + "\n", ["config.yaml:2:7", "digits"]),
    "dropout of one": ("model:\n  layers: [{dropout: 1.0}]\n", ["config.yaml:3:22", "below 1"]),
    "no units": ("model:\n  layers: [dense]\n", ["config.yaml:3:12", "units"]),
    "zero units": ("model:\n  layers: [{dense: 0}]\n", ["config.yaml:3:20", "from 1 to"]),
    "unknown activation": (
        "model:\n  layers: [{dense: {units: 4, activation: rleu}}]\n",
        ["config.yaml:3:43", "did you mean 'relu'?"],
    ),
    "unknown optimizer": ("optimizer: adma\n", ["config.yaml:2:12", "did you mean 'adam'?"]),
    "unknown loss": ("loss: crossentropy\n", ["config.yaml:2:7", "binary_crossentropy"]),
    "unknown metric": ("metrics: [acuracy]\n", ["config.yaml:2:11", "did you mean 'accuracy'?"]),
    "metrics as a word": ("metrics: accuracy\n", ["config.yaml:2:10", "write [accuracy]"]),
    "duration without unit": (
        "optimizer: {schedule: {cosine: {warmup: 5}}}\n",
        ["config.yaml:2:41", "5 epochs"],
    ),
    "name with a slash": ("name: a/b\n", ["config.yaml:2:7 name", "'a/b'"]),
    "custom layer without a module": (
        "model:\n  layers: [{custom: my function}]\n",
        ["config.yaml:3:21", "package.module:function"],
    ),
    "two kinds in one layer": (
        "model:\n  layers:\n    - dense: 4\n      dropout: 0.1\n",
        ["config.yaml:4:7", "dropout"],
    ),
    # YAML
    "tab": ("fit:\n\tepochs: 3\n", ["config.yaml:3:1", "tab", "spaces"]),
    "python object": (
        "seed: !!python/object/apply:os.system ['touch pwned']\n",
        ["config.yaml:2:7", "tag", "!!python/object"],
    ),
    "custom tag": ("seed: !mine 3\n", ["config.yaml:2:7", "!mine"]),
    "duplicate key": ("seed: 1\nseed: 2\n", ["config.yaml:3:1", "again", "line 2"]),
    "open bracket": ("metrics: [accuracy\n", ["config.yaml:", "]"]),
    "open quote": ("name: 'abc\n", ["config.yaml:"]),
    "bad indentation": ("fit:\n    epochs: 3\n  batch_size: 4\n", ["config.yaml:4:"]),
    "no space after the colon": ("seed:7\n", ["config.yaml:2:"]),
    "two documents": ("---\nseed: 1\n", ["config.yaml:2:", "one document"]),
    "unknown alias": ("seed: *nothing\n", ["config.yaml:2:7", "*nothing"]),
    "recursive alias": ("fit: &a {class_weight: *a}\n", ["config.yaml:2:24", "inside itself"]),
    "mapping as a key": ("? {a: 1}\n: 2\n", ["config.yaml:2:", "key"]),
    "control character": ("name: 'a\x07b'\n", ["config.yaml:2:9", "U+0007"]),
    # conflicts: data
    "csv settings for parquet": (
        "extends: base.yaml\n",
        ["base.yaml:5:", "data.csv.separator", "data.format: parquet"],
    ),
    # conflicts: model and optimizer
    "bias regularizer without a bias": (
        "model:\n  layers:\n"
        "    - dense: {units: 4, use_bias: false, bias_regularizer: {l2: 0.1}}\n",
        ["config.yaml:4:", "use_bias: false"],
    ),
    "two unknown dimensions": (
        "model:\n  layers: [{reshape: [-1, -1]}, flatten]\n",
        ["config.yaml:3:", "[-1, -1]"],
    ),
    "reshape that does not fit": (
        "model:\n  layers: [{reshape: [7, 11]}, flatten]\n",
        ["config.yaml:3:", "model.layers.0", "[7, 11]"],
    ),
    "bounds in the wrong order": (
        "model:\n  layers: [{dense: {units: 4, "
        "kernel_initializer: {random_uniform: {low: 1, high: 0}}}}]\n",
        ["config.yaml:3:", "low", "1 and 0"],
    ),
    "norms in the wrong order": (
        "model:\n  layers: [{dense: {units: 4, kernel_constraint: {min_max_norm: [2, 1]}}}]\n",
        ["config.yaml:3:", "[1, 2]"],
    ),
    "two kinds of clipping": (
        "optimizer: {clip_norm: 1, clip_value: 1}\n",
        ["config.yaml:2:39", "clip_norm and clip_value"],
    ),
    "nesterov without momentum": (
        "optimizer: {name: sgd, nesterov: true}\n",
        ["config.yaml:2:34", "momentum"],
    ),
    "schedule with schedule_free": (
        "optimizer: {name: schedule_free_adamw, schedule: {cosine: {}}}\n",
        ["config.yaml:2:50", "schedule_free_adamw"],
    ),
    "schedule of length zero": (
        "optimizer: {schedule: {exponential: {every: 0 epochs, factor: 0.5}}}\n",
        ["config.yaml:2:45", "a duration", "0 epochs"],
    ),
    "piecewise lists of different lengths": (
        "optimizer: {schedule: {piecewise: {at: [5 epochs], factors: [0.1, 0.01]}}}\n",
        ["config.yaml:2:", "factors"],
    ),
    "piecewise in descending order": (
        "optimizer: {schedule: {piecewise: {at: [5 epochs, 3 epochs], factors: [0.1, 0.2]}}}\n",
        ["config.yaml:2:", "after 5 epochs"],
    ),
    # conflicts: loss, metrics, fit
    "label smoothing of a squared error": (
        "loss: {name: mean_squared_error, label_smoothing: 0.1}\n",
        ["config.yaml:2:51", "label_smoothing", "categorical_crossentropy"],
    ),
    "gamma without focus": (
        "loss: {name: binary_crossentropy, gamma: 3}\n",
        ["config.yaml:2:42", "focal"],
    ),
    "delta without huber": ("loss: {delta: 3}\n", ["config.yaml:2:15", "huber"]),
    "loss for another head": (
        "loss: categorical_crossentropy\nmodel: {head: sigmoid}\n",
        ["config.yaml:2:7", "sigmoid head"],
    ),
    "loss for another task": (
        "loss: categorical_crossentropy\n",
        ["config.yaml:2:7", "sigmoid head", "binary_crossentropy"],
    ),
    "head for another task": (
        "model: {head: linear}\n",
        ["config.yaml:2:15", "sigmoid or softmax", "two classes"],
    ),
    "metric for another task": (
        "metrics: [rmse]\n",
        ["config.yaml:2:11", "metric for two classes", "accuracy"],
    ),
    "epochs and steps": ("fit: {epochs: 3, steps: 10}\n", ["config.yaml:2:", "either"]),
    "checkpoint every 0 seconds": (
        "fit: {checkpoint: {every: 0 seconds}}\n",
        ["config.yaml:2:27", "a duration", "0 seconds"],
    ),
    "early stopping after the end": (
        "fit: {epochs: 3, early_stopping: {start_epoch: 9}}\n",
        ["config.yaml:2:", "at most 3"],
    ),
    "minimum above the learning rate": (
        "fit: {reduce_on_plateau: {min_learning_rate: 0.1}}\n",
        ["config.yaml:2:46", "0.001"],
    ),
    "schedule and reduce_on_plateau": (
        "optimizer: {schedule: {cosine: {}}}\nfit: {reduce_on_plateau: 3}\n",
        ["config.yaml:3:", "either a schedule or reduce_on_plateau"],
    ),
    "monitor that is not a metric": (
        "metrics: [accuracy]\nfit: {early_stopping: {monitor: val_auc}}\n",
        ["config.yaml:3:33", "val_auc", "add auc to metrics"],
    ),
    "misspelled monitor": (
        "fit: {early_stopping: {monitor: val_los}}\n",
        ["config.yaml:2:33", "did you mean 'val_loss'?"],
    ),
    "class weights of other classes": (
        "fit: {class_weight: {'yes': 2, nope: 1}}\n",
        ["config.yaml:2:", "'nope'", "no, yes"],
    ),
    "class weights without a class": (
        "fit: {class_weight: {'yes': 2}}\n",
        ["config.yaml:2:", "none for no"],
    ),
    "warm start from a missing run": (
        "fit: {warm_start: runs/nothing}\n",
        ["config.yaml:2:19 fit.warm_start", "a run directory", "no such path at runs/nothing"],
    ),
    # extends
    "extends nothing": ("extends: other.yaml\n", ["config.yaml:2:10", "other.yaml"]),
    "extends itself": ("extends: config.yaml\n", ["config.yaml:2:10", "config.yaml"]),
    "extends a list": ("extends: [base.yaml]\n", ["config.yaml:2:10", "one other config"]),
    "extends a directory": ("extends: .\n", ["config.yaml:2:10", "directory"]),
}

# name: (data section, parts of the message)
DATA_SECTIONS: dict[str, tuple[str, list[str]]] = {
    "misspelled target": ("source: table.csv\n  target: anwser", ["'answer'", "config.yaml:3:"]),
    "misspelled column": (
        "source: table.csv\n  target: answer\n  columns: {agee: {kind: numeric}}",
        ["config.yaml:4:", "did you mean 'age'?"],
    ),
    "misspelled feature": (
        "source: table.csv\n  target: answer\n  features: {include: [age, incme]}",
        ["config.yaml:4:", "'income'"],
    ),
    "misspelled exclusion": (
        "source: table.csv\n  target: answer\n  features: {exclude: [idd]}",
        ["config.yaml:4:", "'idd'"],
    ),
    "no feature left": (
        "source: table.csv\n  target: answer\n  features: {exclude: ['*']}",
        ["config.yaml:4:", "feature"],
    ),
    "misspelled weight": (
        "source: table.csv\n  target: answer\n  weight: wieght",
        ["config.yaml:4:11", "'wieght'"],
    ),
    "misspelled table": ("source: tabel.csv\n  target: answer", ["tabel.csv", "'table.csv'"]),
    "no table": ("target: answer", ["config.yaml:1:1", "data.source", "add `source: …`"]),
    "no target": ("source: table.csv", ["config.yaml:1:1", "data.target", "add `target: …`"]),
    "misspelled split in source": (
        "source: {train: table.csv, tst: table.csv}\n  target: answer",
        ["config.yaml:2:30", "did you mean 'test'?"],
    ),
    "fractions without training rows": (
        "source: table.csv\n  target: answer\n  split: {test: 0.5, validation: 0.5}",
        ["config.yaml:4:", "0.5 + 0.5"],
    ),
    "group split without a column": (
        "source: table.csv\n  target: answer\n  split: {by: group}",
        ["config.yaml:4:15", "data.split.column"],
    ),
    "column of a random split": (
        "source: table.csv\n  target: answer\n  split: {by: random, column: city}",
        ["config.yaml:4:31", "by: random"],
    ),
    "missing split column": (
        "source: table.csv\n  target: answer\n  split: {by: group, column: town}",
        ["config.yaml:4:30", "'town'"],
    ),
    "split column without split names": (
        "source: table.csv\n  target: answer\n  split: {by: column, column: city}",
        ["config.yaml:4:31", "train, validation or test", "'A'"],
    ),
    "split by the target": (
        "source: table.csv\n  target: answer\n  split: {by: group, column: answer}",
        ["config.yaml:4:30", "a column other than the target"],
    ),
    "time column without times": (
        "source: table.csv\n  target: answer\n  split: {by: time, column: city}",
        ["table.csv:2 data.split.column", "dates"],
    ),
    "fraction with named files": (
        "source: {train: table.csv, test: table.csv}\n  target: answer\n  split: {test: 0.3}",
        ["config.yaml:4:17", "lists the files"],
    ),
    "target among the features": (
        "source: table.csv\n  target: answer\n  features: {include: [age, answer]}",
        ["config.yaml:4:", "'answer'"],
    ),
    "included and excluded": (
        "source: table.csv\n  target: answer\n  features: {include: [age], exclude: [age]}",
        ["config.yaml:4:", "'age' in both"],
    ),
    "target as weight": (
        "source: table.csv\n  target: answer\n  weight: answer",
        ["config.yaml:4:11", "a column other than the target"],
    ),
    "target twice": ("source: table.csv\n  target: [age, age]", ["config.yaml:3:", "twice"]),
    "targets of two kinds": (
        "source: table.csv\n  target: [age, city]",
        ["table.csv data.", "'city'"],
    ),
    "positive class of other data": (
        "source: table.csv\n  target: answer\n  positive: maybe",
        ["config.yaml:4:13", "'no', 'yes'", "'maybe'"],
    ),
    "positive number": (
        "source: table.csv\n  target: income\n  positive: 1",
        ["config.yaml:4:13", "two classes"],
    ),
    "threshold of numbers": (
        "source: table.csv\n  target: income\nevaluate: {threshold: 0.3}",
        ["config.yaml:4:23", "a threshold only for"],
    ),
    "stratified numbers": (
        "source: table.csv\n  target: income\n  split: {by: stratified}",
        ["config.yaml:4:15", "random"],
    ),
    "regression of words": (
        "source: table.csv\n  target: answer\n  task: regression",
        ["table.csv:2", "a finite number", "'answer'"],
    ),
    "binary task of three classes": (
        "source: table.csv\n  target: city\n  task: binary",
        ["config.yaml:4:9", "3"],
    ),
    "multilabel task of one column": (
        "source: table.csv\n  target: answer\n  task: multilabel",
        ["config.yaml:4:9", "several columns"],
    ),
    "words as a numeric column": (
        "source: table.csv\n  target: answer\n  columns: {city: {kind: numeric}}",
        ["table.csv:2", "'city'", "'A'"],
    ),
    "words as dates": (
        "source: table.csv\n  target: answer\n  columns: {city: {kind: datetime}}",
        ["table.csv:2", "a date", "'city'"],
    ),
    "settings of another kind": (
        "source: table.csv\n  target: answer\n  columns: {age: {kind: numeric, encode: onehot}}",
        ["config.yaml:4:", "encode", "numeric column"],
    ),
    "settings of two kinds": (
        "source: table.csv\n  target: answer\n  columns: {age: {scale: none, encode: onehot}}",
        ["config.yaml:4:", "scale (numeric) and encode (categorical)"],
    ),
    "column settings for the target": (
        "source: table.csv\n  target: income\n  columns: {income: {scale: minmax}}",
        ["config.yaml:4:", "data.target_scale"],
    ),
    "unused constant": (
        "source: table.csv\n  target: answer\n  numeric: {constant: 3}",
        ["config.yaml:4:23", "impute: constant"],
    ),
    "dimension without embedding": (
        "source: table.csv\n  target: answer\n  categorical: {dimension: 3}",
        ["config.yaml:4:28", "embedding"],
    ),
    "a comment that begins with the quote": (
        "source: table.csv\n  target: answer\n  csv: {quote: '|', comment: '|'}",
        ["config.yaml:4:", "data.csv.comment"],
    ),
    "same separator and quote": (
        "source: table.csv\n  target: answer\n  csv: {separator: '|', quote: '|'}",
        ["config.yaml:4:", "'|' for both"],
    ),
    "wrong separator": (
        "source: table.csv\n  target: answer\n  csv: {separator: ';'}",
        ["config.yaml:3:11", "separator", "','"],
    ),
    "scaled target under a sigmoid": (
        "source: table.csv\n  target: income\n  target_scale: standard\nmodel: {head: sigmoid}",
        ["table.csv:2", "sigmoid", "set model.head: auto and loss: auto"],
    ),
    "unknown encoding": (
        "source: table.csv\n  target: answer\n  csv: {encoding: utf8}",
        ["config.yaml:4:19", "'utf-8'"],
    ),
    "patterns that match nothing": (
        "source: data/*.csv\n  target: answer",
        ["data/*.csv", "no directory"],
    ),
    "monitor without validation rows": (
        "source: table.csv\n  target: answer\n  split: {validation: 0}\n"
        "fit: {early_stopping: {monitor: val_loss}}",
        ["config.yaml:5:", "data.split.validation"],
    ),
}

# name: (words after `good.yaml`, parts of the message)
OVERRIDES: dict[str, tuple[list[str], list[str]]] = {
    "misspelled key": (["fit.epoch=3"], ["override 'fit.epoch=3'", "'epochs'"]),
    "misspelled section": (["fitt.epochs=3"], ["override 'fitt.epochs=3'", "did you mean 'fit'?"]),
    "wrong value": (["fit.epochs=many"], ["override 'fit.epochs=many'", "found 'many'"]),
    "missing value": (["seed="], ["override 'seed='", "found nothing"]),
    "missing key": (["=3"], ["override '=3'", "a key"]),
    "only dots": (["..=3"], ["override '..=3'", "a key"]),
    "value that is not YAML": (["metrics=[accuracy"], ["override 'metrics=[accuracy'"]),
    "object in a value": (
        ["seed=!!python/object/apply:os.system ['true']"],
        ["override 'seed=!!python", "tag"],
    ),
    "index in brackets": (["model.layers[0].dense=8"], ["write model.layers.0.dense=8"]),
    "index out of range": (["model.layers.7.dense=8"], ["override 'model.layers.7.dense=8'", "1"]),
    "index that is a word": (["model.layers.first.dense=8"], ["'first'"]),
    "key of a number": (["seed.more=8"], ["override 'seed.more=8'"]),
    "removal of an unset setting": (["~fit.early_stopping"], ["override '~fit.early_stopping'"]),
    "removal with a value": (["~fit.epochs=3"], ["override '~fit.epochs=3'", "fit.epochs=3"]),
    "removal of a required setting": (["~data.target"], ["data.target", "add `target: …`"]),
    "plus sign": (["+fit.epochs=3"], ["override '+fit.epochs=3'", "write fit.epochs=3"]),
    "extends": (["extends=good.yaml"], ["override 'extends=good.yaml'", "file"]),
    "conflict": (["fit.steps=3"], ["override 'fit.steps=3'", "either epochs or steps"]),
    "two conflicts": (
        ["fit.steps=3", "optimizer.clip_norm=1", "optimizer.clip_value=1"],
        ["override 'fit.steps=3'", "override 'optimizer.clip_value=1'"],
    ),
    "missing path": (["data.source=no.csv"], ["no.csv", "no such file"]),
    "missing target": (["data.target=nope"], ["override 'data.target=nope'", "nope"]),
}

# name: (bytes of the file, parts of the message)
FILES: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["config.yaml", "an empty file", "trainer init"]),
    "only a comment": (b"# later\n", ["config.yaml", "an empty file"]),
    "a list": (b"- a\n- b\n", ["config.yaml:1:1", "a mapping"]),
    "a word": (b"hello\n", ["config.yaml:1:1", "'hello'"]),
    "binary": (bytes(range(256)) * 4, ["config.yaml", "binary"]),
    "latin-1": ("name: M\u00fcller\n".encode("latin-1"), ["config.yaml:1:8", "0xfc", "UTF-8"]),
    "utf-16": ("seed: 1\n".encode("utf-16"), ["config.yaml", "UTF-16", "iconv"]),
    "a table": (b"a,b\n1,2\n", ["config.yaml:1:1", "trainer init"]),
    "JSON that is broken": (b'{"data": {"source": "table.csv",,}}', ["config.yaml:1:"]),
    "nested 1,000 deep": (
        b"a: " + b"[" * 1000 + b"]" * 1000 + b"\n",
        ["config.yaml:1:", "100 levels"],
    ),
    "nested 1,000 deep in blocks": (
        b"".join(b" " * level + b"a:\n" for level in range(1000)),
        ["config.yaml:10", "100 levels"],
    ),
    "alias bomb": (
        b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(
            b"a%d: &a%d [%s]\n" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 10))
            for level in range(1, 12)
        ),
        ["config.yaml:", "100,000 values"],
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name: str, folder: Path, refused_by_check_and_fit: Callable) -> None:
    text, mentions = SETTINGS[name]
    (folder / "config.yaml").write_text(DATA + text)
    (folder / "base.yaml").write_text(
        "data:\n  source: table.csv\n  target: answer\n  format: parquet\n  csv: {separator: ;}\n"
    )
    refused_by_check_and_fit("config.yaml", mentions=mentions)


@pytest.mark.parametrize("name", DATA_SECTIONS)
def test_data_sections(name: str, folder: Path, refused_by_check_and_fit: Callable) -> None:
    text, mentions = DATA_SECTIONS[name]
    (folder / "config.yaml").write_text(f"data:\n  {text}\n")
    refused_by_check_and_fit("config.yaml", mentions=mentions)


@pytest.mark.parametrize("name", OVERRIDES)
def test_overrides(name: str, folder: Path, refused_by_check_and_fit: Callable) -> None:
    arguments, mentions = OVERRIDES[name]
    refused_by_check_and_fit("good.yaml", *arguments, mentions=mentions)


@pytest.mark.parametrize("name", FILES)
def test_files(name: str, folder: Path, refused_by_check_and_fit: Callable) -> None:
    content, mentions = FILES[name]
    (folder / "config.yaml").write_bytes(content)
    refused_by_check_and_fit("config.yaml", mentions=mentions)


def test_config_of_100_mb_is_not_read(folder: Path, refused_by_check_and_fit: Callable) -> None:
    with (folder / "config.yaml").open("wb") as file:
        file.truncate(100_000_000)
    refused_by_check_and_fit(
        "config.yaml", mentions=["config.yaml", "1,000,000 bytes", "100,000,000"]
    )


def test_missing_config(folder: Path, refused_by_check_and_fit: Callable) -> None:
    refused_by_check_and_fit(
        "god.yaml", mentions=["god.yaml", "no such file", "did you mean 'good.yaml'?"]
    )


def test_directory_in_place_of_a_config(folder: Path, refused_by_check_and_fit: Callable) -> None:
    refused_by_check_and_fit(folder, mentions=[str(folder), "a directory", "good.yaml"])


def test_table_in_place_of_a_config(folder: Path, refused: Callable) -> None:
    refused("check", "table.csv", mentions=["table.csv:1:1", "trainer init table.csv"])


def test_all_problems_are_reported_at_once(folder: Path, refused: Callable) -> None:
    (folder / "config.yaml").write_text(
        "data: {source: table.csv}\nsede: 1\nfit: {epochs: many, steps: 0}\nmetrics: [x]\n"
    )
    arguments = ("check", "config.yaml", "runtime.device=cuda", "optimizer.clipnorm=1")
    result = refused(
        *arguments, mentions=["data.target", "'seed'", "'many'", "runtime.device=cuda"]
    )
    assert len(result.json["error"]["problems"]) == 7


def test_config_is_not_executed(folder: Path) -> None:
    for tag in ("apply:os.system", "new:os.system", "/name:os.system"):
        (folder / "config.yaml").write_text(f"seed: !!python/object/{tag} ['touch pwned']\n")
        assert run(["check", "config.yaml"]) == 2
    assert not (folder / "pwned").exists()


def test_all_configs_are_checked_before_training(folder: Path, refused: Callable) -> None:
    (folder / "bad.yaml").write_text("fit: {epochs: 0}\n")
    refused("fit", "good.yaml", "bad.yaml", mentions=["bad.yaml:1:15"])
    assert not (folder / "runs").exists()
