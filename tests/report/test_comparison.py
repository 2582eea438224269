import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.run_files import NOW, SETTINGS, make_run, scores, settings
from trainer.errors import RunError, UsageError
from trainer.report.comparison import (
    Comparison,
    compare_runs,
    comparison_csv,
    comparison_json,
    differences,
)
from trainer.runs.directory import RunDirectory
from trainer.runs.manifest import DataFile


def compared(*runs: RunDirectory) -> Comparison:
    return compare_runs([run.path for run in runs], NOW)


def test_settings_that_differ(tmp_path: Path) -> None:
    dropout = {"dropout": {"rate": 0.5}}
    first = make_run(tmp_path)
    second = make_run(
        tmp_path,
        config=settings(
            optimizer={"name": "adam", "learning_rate": 0.01, "clip_norm": {"to": 1}},
            model__layers=[*SETTINGS["model"]["layers"][:1], dropout, {"flatten": {}}],
            metrics=["auc"],
        ),
    )
    assert compared(first, second).settings == {
        "optimizer.learning_rate": {0: 0.001, 1: 0.01},
        "optimizer.clip_norm": {0: None, 1: {"to": 1}},
        "optimizer.amsgrad": {0: False},
        "model.layers.1.dropout.rate": {0: 0.1, 1: 0.5},
        "model.layers.2": {1: {"flatten": {}}},
        "metrics": {0: ["accuracy", "auc"], 1: ["auc"]},
    }


def test_different_layer_type_is_one_difference(tmp_path: Path) -> None:
    other = [{"flatten": {}}, {"dropout": {"rate": 0.1}}]
    result = compared(make_run(tmp_path), make_run(tmp_path, config=settings(model__layers=other)))
    assert result.settings == {
        "model.layers.0.dense": {0: {"units": 64, "activation": "relu"}},
        "model.layers.0.flatten": {1: {}},
    }
    none = compared(make_run(tmp_path), make_run(tmp_path, config=settings(model__layers=[])))
    assert list(none.settings) == ["model.layers"]


def test_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    reversed_keys = dict(reversed(SETTINGS["optimizer"].items()))
    other = [{"dense": dict(reversed(SETTINGS["model"]["layers"][0]["dense"].items()))}]
    first = make_run(tmp_path, config=settings(model__layers=SETTINGS["model"]["layers"][:1]))
    second = make_run(tmp_path, config=settings(optimizer=reversed_keys, model__layers=other))
    assert compared(first, second).settings == {}
    listed = [{"a": 1, "b": 2}, 3], [{"b": 2, "a": 1}, 3]
    assert (
        dict(differences({index: {"x": [1, *part]} for index, part in enumerate(listed)}, 2)) == {}
    )


def test_equal_runs_do_not_differ(tmp_path: Path) -> None:
    result = compared(make_run(tmp_path), make_run(tmp_path))
    assert result.settings == result.details == {}


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["a", "1", "null"])
)
TREES = st.dictionaries(
    st.sampled_from(["a", "b.c", "d"]),
    st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["x", "y"]), inner)
        ),
        max_leaves=6,
    ),
)


@given(st.lists(TREES, min_size=2, max_size=4))
def test_differences_are_exact(trees: list[dict[str, Any]]) -> None:
    result = dict(differences(dict(enumerate(trees)), len(trees)))
    equal = all(
        json.dumps(tree, sort_keys=True) == json.dumps(trees[0], sort_keys=True) for tree in trees
    )
    assert (result == {}) is equal
    for row in result.values():
        assert (
            len(row) < len(trees)
            or len({json.dumps(value, sort_keys=True) for value in row.values()}) > 1
        )


def test_details_that_differ(tmp_path: Path) -> None:
    first = make_run(tmp_path)
    second = make_run(tmp_path, weights_sha256="ab", packages={"keras": "2.0"})
    manifest = second.read_manifest()
    files = (DataFile("wine.csv", 100, 12, "e" * 64),)
    splits = {"train": 8, "validation": 2, "test": 2}
    second.write_manifest(replace(manifest, data=files, splits=splits))
    details = compared(first, second).details
    assert details["data_sha256"] == {0: ["f" * 64], 1: ["e" * 64]}
    assert details["rows.train"] == {0: 6, 1: 8}
    assert details["weights_sha256"] == {1: "ab"}
    assert details["packages.keras"] == {0: first.read_manifest().packages["keras"], 1: "2.0"}
    assert "rows.test" not in details
    assert "device" not in details


def test_path_inside_a_run_selects_it(tmp_path: Path) -> None:
    first, second = make_run(tmp_path), make_run(tmp_path)
    (first.checkpoints / "best").mkdir(parents=True)
    result = compare_runs([first.best, second.config], NOW)
    assert [run.path for run in result.runs] == [first.path, second.path]


def test_fewer_than_two_runs_are_rejected(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(UsageError, match="two runs or more, found one"):
        compared(run)
    (tmp_path / "link").symlink_to(run.path)
    with pytest.raises(UsageError, match=f"{tmp_path}/link: expected distinct runs"):
        compare_runs([run.path, tmp_path / "link"], NOW)


def test_all_unreadable_runs_are_reported(tmp_path: Path) -> None:
    run, broken, without = make_run(tmp_path), make_run(tmp_path), make_run(tmp_path)
    broken.config.write_text("optimizer: [\n")
    without.config.unlink()
    with pytest.raises(RunError) as raised:
        compare_runs([run.path, broken.path, without.path, tmp_path / "none", tmp_path], NOW)
    locations = [problem.where.split(":")[0] for problem in raised.value.problems]
    assert locations == [str(broken.config), str(without.config), f"{tmp_path}/none", str(tmp_path)]


def test_other_damage_is_reported_and_the_rest_compared(tmp_path: Path) -> None:
    first, second = make_run(tmp_path, evaluations=scores(auc=0.5)), make_run(tmp_path)
    second.manifest.write_text("{")
    second.write_evaluation("validation", [])
    result = compared(first, second)
    assert [run.status for run in result.runs] == ["finished", "damaged"]
    assert len(result.runs[1].problems) == 2
    assert result.settings == {}
    assert result.details["device"] == {0: "CPU"}


def members(root: Path, **details: Any) -> RunDirectory:
    interval = {"mean": 0.8, "std": 0.1, "low": 0.7, "high": 0.9, "n": 5}
    none = {"mean": None, "std": None, "low": None, "high": None, "n": 0}
    evaluation = {"metrics": {"auc": 0.8, "f1": None}, "intervals": {"auc": interval, "f1": none}}
    return make_run(root, evaluations={"test": evaluation}, **details)


def test_json(tmp_path: Path) -> None:
    first = members(tmp_path)
    second = make_run(tmp_path, config=settings(seed=8), evaluations=scores(auc=0.1 + 0.2))
    value = json.loads(json.dumps(comparison_json(compared(first, second)), allow_nan=False))
    assert value["differ"] == {"settings": ["seed"], "details": []}
    item, other = value["runs"]
    assert item["settings"] == {"seed": 7}
    assert other["settings"] == {"seed": 8}
    assert item["intervals"]["test"]["auc"] == {
        "mean": 0.8,
        "std": 0.1,
        "low": 0.7,
        "high": 0.9,
        "n": 5,
    }
    assert other["metrics"]["validation"]["auc"] == 0.30000000000000004


def test_csv(tmp_path: Path) -> None:
    first = members(tmp_path, weights_sha256="ab")
    second = make_run(tmp_path, config=settings(seed=8), evaluations=scores(auc=0.1 + 0.2))
    head, *rows = csv.reader(comparison_csv(compared(first, second)))
    item, other = (dict(zip(head, row, strict=True)) for row in rows)
    assert head[:4] == ["run", "name", "status", "seed"]
    assert item["run"] == str(first.path)
    assert (item["test_auc"], item["test_auc_low"], item["test_auc_std"]) == ("0.8", "0.7", "0.1")
    assert (item["test_f1"], item["val_auc"], item["weights_sha256"]) == ("", "", "ab")
    assert (other["seed"], other["val_auc"]) == ("8", "0.30000000000000004")
    assert other["test_auc"] == other["weights_sha256"] == ""
    assert len(set(head)) == len(head)
