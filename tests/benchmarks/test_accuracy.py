"""Accuracy on tables with fixed folds: errors, ablations, ratios and the page."""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from benchmarks.ablations import PARTS, without_part
from benchmarks.accuracy import Job, Setup, error, make_jobs, measure, write_table
from benchmarks.accuracy_results import accuracy_sections, summarize
from benchmarks.learner_errors import geometric_mean
from sklearn.metrics import log_loss, roc_auc_score

from trainer.config.load import load_config
from trainer.data.config_proposal import propose_config


class TestError:
    def test_auc_of_the_positive_class_with_ties(self):
        generator = np.random.default_rng(0)
        p = generator.integers(0, 6, 50) / 5
        y = generator.random(50) < p
        task = {"metric": "roc_auc", "classes": ["bad", "good"], "positive": "bad"}
        targets = ["bad" if positive else "good" for positive in y]
        measured = error(task, targets, np.stack([p, 1 - p], axis=1))
        assert measured == pytest.approx(1 - roc_auc_score(y, p))

    def test_log_loss(self):
        p = np.random.default_rng(0).dirichlet([1, 1, 1], 20)
        targets = [str(number % 3) for number in range(20)]
        measured = error({"metric": "log_loss", "classes": ["0", "1", "2"]}, targets, p)
        assert measured == pytest.approx(log_loss(targets, p))

    def test_impossible_class_has_a_finite_loss(self):
        task = {"metric": "log_loss", "classes": ["a", "b"]}
        assert error(task, ["b"], np.array([[1.0, 0.0]])) == pytest.approx(-np.log(1e-7))

    def test_rmse(self):
        assert error({"metric": "rmse"}, ["1", "2.5"], np.array([[1.0], [5.5]])) == pytest.approx(
            np.sqrt(4.5)
        )


@pytest.fixture(scope="module")
def proposals(tmp_path_factory):
    """The configs that `init` proposes for a table, by its target."""
    folder = tmp_path_factory.mktemp("proposals")
    rows = np.arange(400)
    columns = {
        "number": np.where(rows % 7 == 0, None, rows % 50),
        "category": [f"level {row % 12}" for row in rows],
        "kind": [f"kind {row % 3}" for row in rows],
        "size": np.sin(rows),
        "day": [str(np.datetime64("2024-01-01") + row * 37 % 400) for row in rows],
    }
    table = folder / "table.csv"
    pl.DataFrame({name: list(values) for name, values in columns.items()}).write_csv(table)
    return {
        target: propose_config(table, (target,), folder / f"{target}.yaml").text
        for target in ("kind", "size")
    }


class TestAblations:
    @pytest.mark.parametrize("part", PARTS)
    @pytest.mark.parametrize("target", ["kind", "size"])
    def test_configs_are_valid(self, part, target, proposals, tmp_path):
        changed = without_part(yaml.safe_load(proposals[target]), part)
        absent = {"quantiles" if target == "kind" else "smoothing", "components"}
        if part in absent:
            assert changed is None
            return
        changed["data"]["source"] = "table.csv"
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps(changed))
        load_config(path)

    def test_what_is_removed(self, proposals):
        proposed = yaml.safe_load(proposals["kind"])
        assert "target_mean" in str(proposed)
        assert "target_mean" not in str(without_part(proposed, "target_means"))
        assert "piecewise_bins" not in str(without_part(proposed, "bins"))
        assert "label_smoothing" not in str(without_part(proposed, "smoothing"))
        assert without_part(proposed, "dates")["data"]["datetime"]["parts"] == ["elapsed"]
        assert without_part(proposed, "weight_decay")["optimizer"]["weight_decay"] == 0
        spectra = {"model": {"layers": [{"principal_components": 9}, "learned_scale"]}}
        assert without_part(spectra, "components") == {"model": {"layers": ["learned_scale"]}}
        single = without_part(proposed, "folds")
        assert "folds" not in single["fit"]
        assert single["data"]["split"]["validation"] == 0.2
        assert proposed == yaml.safe_load(proposals["kind"])


TASKS = [
    {"name": "size", "n_rows": 1_000, "n_features": 2, "task": "regression", "metric": "rmse"},
    {"name": "kind", "n_rows": 2_000, "n_features": 2, "task": "binary", "metric": "roc_auc"},
]


def baseline(metric, values):
    seconds = dict.fromkeys(values, 0.5)
    return {metric: {"per_fold": values}, "fit_seconds": {"per_fold": seconds}}


@pytest.fixture
def results(tmp_path):
    """A folder of results: two folds of a table, one of another; RealMLP ran fold 0 only."""
    suite = tmp_path / "quality"
    for setup in ("balanced", "balanced-without_bins", "quick"):
        (suite / setup).mkdir(parents=True)
    (suite / "tasks.json").write_text(json.dumps({"tasks": TASKS}))
    baselines = {
        "size": {
            "dummy": baseline("rmse", {"0": 0.1, "1": 0.1}),
            "linear": baseline("rmse", {"0": 4.0, "1": 6.0}),
            "lightgbm": baseline("rmse", {"0": 8.0, "1": 8.0}),
            "realmlp_td": baseline("rmse", {"0": 2.0}),
        },
        "kind": {
            "dummy": baseline("roc_auc", {"0": 0.5}),
            "lightgbm": baseline("roc_auc", {"0": 0.75}),
        },
    }
    (suite / "baselines.json").write_text(json.dumps({"results": baselines}))
    errors = {"size-0": 3.0, "size-1": 5.0, "kind-0": 0.2}
    for name, value in errors.items():
        result = {"error": value, "seconds": 9.0, "cpu_seconds": 8.0, "measured_on": "a machine"}
        (suite / "balanced" / f"{name}.json").write_text(json.dumps(result))
    changed = {"error": 6.0, "seconds": 9.0, "cpu_seconds": 8.0}
    (suite / "balanced-without_bins" / "size-0.json").write_text(json.dumps(changed))
    (suite / "balanced-without_bins" / "kind-0.json").write_text(json.dumps({"unchanged": True}))
    (suite / "quick" / "size-0.json").write_text(json.dumps(changed))
    return tmp_path


class TestResults:
    def test_ratio_to_the_best_learner_that_ran_all_folds(self, results):
        tables = summarize(results)["suites"]["quality"]["setups"]["balanced"]
        assert tables["size"]["best"] == "linear"
        assert tables["size"]["ratio"] == pytest.approx(4 / 5)
        assert tables["size"]["boosting_ratio"] == pytest.approx(4 / 8)
        assert tables["size"]["fold_ratios"] == pytest.approx({"0": 3 / 2, "1": 5 / 6})
        assert tables["kind"]["ratio"] == pytest.approx(0.2 / 0.25)

    def test_learners_on_the_folds_that_they_ran(self, results):
        learners = summarize(results)["suites"]["quality"]["learners"]
        assert learners["realmlp_td"]["ratio"] == pytest.approx(3 / 2)
        assert (learners["realmlp_td"]["tables"], learners["realmlp_td"]["folds"]) == (1, 1)
        assert learners["lightgbm"]["ratio"] == pytest.approx(geometric_mean([0.5, 0.8]))
        assert learners["lightgbm"]["our_cpu_seconds"] == 16.0

    def test_page(self, results):
        page = "\n\n".join(accuracy_sections(summarize(results)))
        assert (
            "| size | 1,000 | regression | 4 | logistic regression or ridge | 5 | 0.800 |" in page
        )
        assert "Measured on: a machine." in page
        assert "0.83–1.50 (2) | 0.500 | 8.0 |" in page
        assert "2 of 2 tables have less error than LightGBM" in page
        assert "| RealMLP | 1 | 1 | 1.500 | 0 |" in page
        # The other table has no bins.
        assert (
            "| piecewise-linear bins of numbers | 1 | 2.000 | 2.00 (size) – 2.00 (size) | 1 |"
            in page
        )

    def test_efforts_on_the_folds_that_all_ran(self, results):
        page = "\n\n".join(accuracy_sections(summarize(results)))
        # RealMLP has an error of 2 on fold 0, LightGBM one of 8.
        assert "| quick | 1 | 1 | 3.000 | 3.000 (size) | 1 | 8 |  |" in page
        assert "| balanced | 1 | 1 | 1.500 | 1.500 (size) | 1 | 8 |  |" in page
        assert "| LightGBM | 1 | 1 | 4.000 | 4.000 (size) | 0 |" in page
        assert "| size | 3.000 | 1.500 | 8.0 | 8.0 |" in page

    def test_time_limit_and_run_without_report(self, results):
        suite = results / "quality"
        limited = {"error": 1.0, "seconds": 61.5, "cpu_seconds": 99.0}
        for setup in ("best-within_60_s", "balanced-without_report"):
            (suite / setup).mkdir()
            (suite / setup / "size-0.json").write_text(json.dumps(limited))
        page = "\n\n".join(accuracy_sections(summarize(results)))
        assert "| best, within 60 s | 1 | 1 | 0.500 | 0.500 (size) | 1 | 99 | 62 |" in page
        assert "| balanced, without baselines and report | 1 | 1 |" in page
        assert "| size | 3.000 | 1.500 | 0.500 | 8.0 | 8.0 | 99.0 | 61.5 |" in page
        assert "| RealMLP | 1 | 1 | 1.500 | 0 | 0 | 8 | 99 |" in page


class TestSetup:
    def test_names(self):
        assert Setup().name == "balanced"
        assert Setup("quick", max_seconds=60.0).name == "quick-within_60_s"
        assert Setup(without="bins", seed=2).name == "balanced-without_bins-seed_2"


def write_suite(folder, baselines):
    """Write a suite with one table, whose rows are in five folds."""
    (folder / "tables").mkdir(parents=True)
    (folder / "folds").mkdir()
    numbers = np.random.default_rng(0).normal(size=100).round(4)
    rows = [[value, 2 * value] for value in numbers.tolist()]
    write_table(folder / "tables" / "t.csv", ["x", "y"], rows)
    write_table(folder / "folds" / "t.csv", ["fold"], [[row % 5] for row in range(100)])
    task = {**TASKS[0], "name": "t", "target": "y", "n_rows": 100}
    task |= {"file": "tables/t.csv", "folds": "folds/t.csv"}
    (folder / "tasks.json").write_text(json.dumps({"tasks": [task]}))
    (folder / "baselines.json").write_text(json.dumps({"results": {"t": baselines}}))


def arguments(**values):
    defaults = {
        "effort": "quick", "without": None, "seed": None, "max_seconds": None, "tables": None,
        "folds": [3], "trainer": Path(sys.executable).with_name("trainer"),
    }  # fmt: skip
    return type("Arguments", (), {**defaults, **values})


def test_unknown_table(tmp_path):
    write_suite(tmp_path / "own", {})
    with pytest.raises(SystemExit, match="no such table: u"):
        make_jobs(arguments(suite=tmp_path / "own", folder=tmp_path / "out", tables=["u"]))


@pytest.mark.slow
def test_measure(tmp_path):
    write_suite(tmp_path / "own", {"linear": baseline("rmse", {"3": 1.0})})
    (job,) = make_jobs(arguments(suite=tmp_path / "own", folder=tmp_path / "out"))
    assert isinstance(job, Job)
    measure(job, [0])
    result = json.loads(job.result.read_text())
    assert result["error"] < 2
    assert result["cpu_seconds"] > 1
    predictions = pl.read_csv(job.result.with_suffix(".csv"))
    assert predictions["row"].to_list() == list(range(3, 100, 5))
    tables = summarize(tmp_path / "out")["suites"]["own"]["setups"]["quick"]
    assert tables["t"]["folds"] == ["3"]
