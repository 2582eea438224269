from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.config.dump import dump_config
from trainer.config.load import LoadedConfig, load_config, name_from_path
from trainer.config.optimizers import Sgd
from trainer.errors import ConfigError, Problem

Write = Callable[..., Path]
BASE = "data: {source: x.csv, target: y}\n"


def load_errors(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    problems = [str(problem).replace(str(path.parent), "DIR") for problem in caught.value.problems]
    assert str(caught.value).replace(str(path.parent), "DIR") == "\n".join(problems)
    return problems


def test_minimal_config_has_defaults(write: Write) -> None:
    path = write(BASE, "wine quality (1).yaml")
    loaded = load_config(path)
    assert loaded.path == path
    assert loaded.config.name == "wine-quality-1-"
    assert loaded.config.seed == 0
    assert len(loaded.config.model.layers) == 2


def test_config_is_pickled_for_worker_processes(write: Write) -> None:
    layers = "model: {layers: [{dense: 4}, {dropout: 0.1}, batch_normalization]}\n"
    loaded = load_config(write(BASE + layers))
    assert pickle.loads(pickle.dumps(loaded)).config == loaded.config


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.yaml", "a"),
        ("größe.yml", "gr-e"),
        ("---.yaml", "run"),
        (".x.yaml", "x"),
        ("a" * 200, "a" * 100),
    ],
)
def test_name_from_file_name(name: str, expected: str) -> None:
    assert name_from_path(Path(name)) == expected


def test_configured_name_is_kept(write: Write) -> None:
    assert load_config(write(BASE + "name: abc\n")).config.name == "abc"
    assert load_config(write(BASE), ["name=abc"]).config.name == "abc"


def test_paths_are_relative_to_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "data: {source: {train: [a.csv, ../b.csv], test: /c.csv}, target: y}\nfit: {warm_start: r}\n"
    path = write(text, "sub/config.yaml")
    monkeypatch.chdir(path.parent.parent)
    config = load_config(Path("sub/config.yaml"), ["data.source.validation=v.csv"]).config
    assert config.model_dump()["data"]["source"] == {
        "train": [str(path.parent / "a.csv"), str(path.parent.parent / "b.csv")],
        "validation": str(path.parent.parent / "v.csv"),
        "test": "/c.csv",
    }
    assert config.fit.warm_start.run == str(path.parent / "r")


def test_extends_merges_mappings_and_replaces_the_rest(write: Write) -> None:
    write(
        "data: {source: x.csv, target: y, csv: {null_values: [a, b]}}\n"
        "model: {layers: [dense: 3]}\noptimizer: sgd\nfit: {epochs: 5, batch_size: 7}\n",
        "base/base.yaml",
    )
    path = write(
        "extends: base/base.yaml\nmodel: {layers: [flatten]}\noptimizer: {momentum: 0.5}\n"
        "data: {csv: {null_values: [c]}}\nfit: {epochs: 6}\n"
    )
    config = load_config(path).config
    assert config.data.source == str(path.parent / "base" / "x.csv")
    assert config.data.csv.null_values == ["c"]
    assert config.model.model_dump(exclude_unset=True) == {"layers": [{"flatten": {}}]}
    assert isinstance(config.optimizer, Sgd)
    assert config.optimizer.momentum == 0.5
    assert (config.fit.epochs, config.fit.batch_size) == (6, 7)
    assert config.name == "config"


def test_extends_replaces_values_of_another_type(write: Write) -> None:
    write(BASE + "optimizer: {name: adam, beta_1: 0.5, schedule: {cosine: {}}}\n", "base.yaml")
    path = write("extends: base.yaml\noptimizer: {name: sgd, momentum: 0.5}\n")
    assert load_config(path).config.optimizer.model_dump(exclude_unset=True) == {
        "name": "sgd", "momentum": 0.5,
    }  # fmt: skip
    path = write("extends: base.yaml\noptimizer: {schedule: {polynomial: {power: 2}}}\n")
    assert load_config(path).config.optimizer.model_dump(exclude_unset=True) == {
        "name": "adam", "beta_1": 0.5, "schedule": {"polynomial": {"power": 2.0}},
    }  # fmt: skip
    path = write("extends: base.yaml\noptimizer: {schedule: null}\n")
    assert load_config(path).config.optimizer.schedule is None


def test_problem_in_base_config_has_its_location(write: Write) -> None:
    write(BASE + "fit: {epochs: x}\n", "base.yaml")
    assert load_errors(write("extends: base.yaml\nseed: y\n")) == [
        "DIR/base.yaml:2:15 fit.epochs: expected an integer from 1 to 10,000,000, found 'x'",
        "DIR/config.yaml:2:7 seed: expected an integer of at least 0 and below 2^63, found 'y'",
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"config.yaml": "extends: config.yaml"},
            "DIR/config.yaml:1:10 extends: expected a config that "
            "does not extend this one, found 'config.yaml', which extends DIR/config.yaml; remove "
            "one `extends` of the cycle",
        ),
        (
            {"config.yaml": "extends: b.yaml", "b.yaml": "extends: config.yaml"},
            "DIR/b.yaml:1:10 extends: "
            "expected a config that does not extend this one, found 'config.yaml', which extends "
            "DIR/b.yaml; remove one `extends` of the cycle",
        ),
        (
            {"config.yaml": "extends: bass.yaml", "base.yaml": ""},
            "DIR/config.yaml:1:10 extends: expected "
            "a YAML file, found 'bass.yaml': no such file; did you mean 'DIR/base.yaml'?",
        ),
        (
            {"config.yaml": "extends: [a, b]"},
            "DIR/config.yaml:1:10 extends: expected the path of one "
            "other config, found a list; write `extends: other.yaml`",
        ),
        (
            {"config.yaml": "extends:"},
            "DIR/config.yaml:1:9 extends: expected the path of one "
            "other config, found nothing; write `extends: other.yaml`",
        ),
        (
            {"config.yaml": "extends: d", "d/x": ""},
            "DIR/config.yaml:1:10 extends: expected a YAML file, "
            "found 'd': a directory; pass a file",
        ),
    ],
)
def test_invalid_extends(write: Write, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        write(text, name)
    problems = load_errors(write(files["config.yaml"]))
    assert problems[0] == message


def test_long_chain_of_extends(write: Write) -> None:
    for index in range(40):
        write(f"extends: {index + 1}.yaml", f"{index}.yaml")
    problems = load_errors(write("extends: 0.yaml"))
    assert "expected at most 20 configs that extend each other" in problems[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "DIR/config.yaml: expected a mapping with at least data.source and data.target, found an "
            "empty file; write one with: trainer init DATA --target COLUMN",
        ),
        (
            "# only\n",
            "DIR/config.yaml: expected a mapping with at least data.source and data.target, "
            "found an empty file; write one with: trainer init DATA --target COLUMN",
        ),
        (
            "- a\n",
            "DIR/config.yaml:1:1: expected a mapping with at least data.source and data.target, "
            "found a list; write one with: trainer init DATA --target COLUMN",
        ),
        (
            "hello",
            "DIR/config.yaml:1:1: expected a mapping with at least data.source and data.target, "
            "found 'hello'; write one with: trainer init DATA --target COLUMN",
        ),
        (
            "seed: 1",
            "DIR/config.yaml:1:1 data: expected a mapping with source, format, csv, target, "
            "task, positive, target_separator, target_scale, features, pseudonymize, pseudonym_key, "
            "weight, split, clean, numeric, categorical, datetime, image, text, tokens, target_tokens, "
            "shared_vocabulary, columns, found nothing; add `data: …`",
        ),
    ],
)
def test_file_without_config(write: Write, text: str, message: str) -> None:
    assert load_errors(write(text)) == [message]


def test_data_file_instead_of_config(write: Write) -> None:
    (problems,) = load_errors(write("a,b\n1,2\n", "x.csv"))
    assert problems.endswith(
        "a table is not a config; write one with: trainer init DIR/x.csv --target COLUMN"
    )


def test_all_problems_are_reported_at_once(write: Write) -> None:
    path = write(
        "seed: 1\nseed: 2\ndata: {source: x.csv, target: y, split: {test: 0.6, validation: 0.6}}\n"
        "optimizer: {name: sgd, nesterov: true, lerning_rate: 1}\nfit: {epochs: 0, steps: 5}\n"
        "metrics: [acuracy]\n"
    )
    problems = load_errors(path, "model.layers.0.dens=3", "fit.batch_size", "~fit.monitor")
    assert [line.split(": expected")[0] for line in problems] == [
        "override 'fit.batch_size'",
        "DIR/config.yaml:2:1 seed",
        "override 'model.layers.0.dens=3'",
        "override '~fit.monitor'",
        "DIR/config.yaml:4:40 optimizer.lerning_rate",
        "DIR/config.yaml:5:15 fit.epochs",
        "DIR/config.yaml:6:11 metrics.0",
        "DIR/config.yaml:3:41 data.split",
        "DIR/config.yaml:4:34 optimizer.nesterov",
    ]


def test_conflicts_of_invalid_settings_are_not_reported(write: Write) -> None:
    text = BASE + "metrics: [acuracy]\nfit: {early_stopping: {monitor: val_mcc}}\n"
    assert len(load_errors(write(text))) == 1


def test_conflicts_have_locations(write: Write) -> None:
    path = write(BASE + "fit: {epochs: 3}\n")
    assert load_errors(path, "fit.steps=5") == [
        "override 'fit.steps=5': expected either epochs or steps, found epochs: 3 and steps: 5; "
        "remove one of the two"
    ]
    assert load_errors(path, "data.split={test: 0.7, validation: 0.5}") == [
        "override 'data.split={test: 0.7, validation: 0.5}': expected test and validation "
        "fractions that leave training rows, found 0.7 + 0.5; lower one of them"
    ]


def locate(loaded: LoadedConfig, key: str) -> str:
    return loaded.locate(Problem("", "a", "b", key=key)).where


def test_locate(write: Write, tmp_path: Path) -> None:
    path = write("data:\n  source: x.csv\n  target: y\n  columns:\n    a.b: {kind: numeric}\n")
    loaded = load_config(path, ["fit.epochs=3", "model.layers=[dense: 3, flatten]"])
    assert locate(loaded, "data.target") == f"{path}:3:11"
    assert locate(loaded, "data.columns.a.b.kind") == f"{path}:5:17"
    assert locate(loaded, 'data.columns."a.b".kind') == f"{path}:5:17"
    assert locate(loaded, "data.columns.a.c.kind") == f"{path}:4:3"
    assert locate(loaded, "data.split.test") == f"{path}:1:1"
    assert locate(loaded, "runtime.device") == str(path)
    assert locate(loaded, "name") == str(path)
    assert locate(loaded, "") == str(path)
    assert locate(loaded, "model.layers.1.flatten") == "override 'model.layers=[dense: 3, flatten]'"
    assert locate(loaded, "fit.epochs") == "override 'fit.epochs=3'"
    located = loaded.locate(Problem("", "a", "b", key="fit.epochs"))
    assert str(located) == "override 'fit.epochs=3': expected a, found b"
    elsewhere = Problem("x.csv:3", "a", "b", key="data.target")
    assert loaded.locate(elsewhere) == elsewhere


def test_resolved_config_is_equal_in_another_folder(write: Write, tmp_path: Path) -> None:
    config = load_config(write(BASE), ["optimizer.schedule=cosine", "fit.early_stopping=5"]).config
    assert load_config(write(dump_config(config), "runs/a/config.yaml")).config == config


def test_config_from_a_pipe(write: Write) -> None:
    path = write("")
    path.unlink()
    os.mkfifo(path)
    with subprocess.Popen(
        [sys.executable, "-c", f"open({str(path)!r}, 'w').write({BASE!r})"]
    ) as writer:
        assert load_config(path).config.data.target == "y"
    assert writer.returncode == 0


def test_loading_does_not_import_heavy_packages() -> None:
    code = (
        "import sys, trainer.config.load, trainer.config.describe, trainer.config.template;"
        "print([m for m in ('tensorflow', 'keras', 'numpy', 'polars') if m in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"


def test_at_most_100_problems_are_reported(write: Write) -> None:
    problems = load_errors(write(BASE + "".join(f"k{index}: 1\n" for index in range(500))))
    assert len(problems) == 101
    assert problems[-1] == (
        "DIR/config.yaml: expected at most 100 problems, found more; fix these first"
    )
