"""What a run looks at: scikit-learn's figures on the same network, the files, what is refused."""

import dataclasses
import json
import sys
from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import partial_dependence, permutation_importance

from tests.workflows.conftest import CONFIG, run_fit, write_table
from trainer.data import streams
from trainer.data.sampling import draw_row_sample
from trainer.data.values import number_matrix
from trainer.errors import DataError, RunError, UsageError
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.workflows import engines
from trainer.workflows.evaluate import load_run_table
from trainer.workflows.explain import explain
from trainer.workflows.importance import compute_importance, should_compute_importance
from trainer.workflows.trained_runs import load_network, open_trained

# Not `importorskip`: what imports it first says how it computes.
needs_shap = pytest.mark.skipif(find_spec("shap") is None, reason="needs shap")


def ask(run, **settings):
    settings = {"split": None, "repeats": 5, "columns": (), "shap_rows": None, **settings}
    return explain(run, device="cpu", allow_custom=False, **settings)


def read(run, name):
    return read_json(RunDirectory(run).explanation / name)


class Network(ClassifierMixin, BaseEstimator):
    """A run as scikit-learn has estimators, over (size, number of the colour)."""

    colours = ("blue", "green", "red", None)

    def __init__(self, run):
        self.run = run

    def fit(self, x, y):
        self.classes_ = np.array([0, 1])
        opened = open_trained(self.run)
        self.encoder, self.network = opened.preprocessing, load_network(opened, allow_custom=False)
        return self

    def predict_proba(self, x):
        colours = [self.colours[int(one)] for one in x[:, 1]]
        frame = pl.DataFrame({"size": x[:, 0], "colour": pl.Series(colours, dtype=pl.String)})
        p = np.asarray(self.network(self.encoder.transform(frame).x, training=False))
        return np.concatenate([1 - p, p], axis=1)


def rows_of(run, split):
    """What scikit-learn is given of a split: (size, number of the colour), and the classes."""
    sample = draw_row_sample(load_run_table(open_trained(run)), split, 1000, 0)
    size = number_matrix(sample.frame, ["size"])[:, 0]
    colour = [Network.colours.index(one) for one in sample.frame["colour"]]
    return np.stack([size, colour], axis=1), sample.y[:, 0]


def test_drops_and_curves_are_those_of_sklearn(finished):
    done = ask(finished.run, repeats=40, split="test")
    x, y = rows_of(finished.run, "test")
    network = Network(finished.run).fit(x, y)
    theirs = permutation_importance(network, x, y, scoring="roc_auc", n_repeats=40, random_state=0)
    ours = {one["column"]: one for one in done.importance["columns"]}
    assert done.importance["baseline"] == pytest.approx(finished.metrics["test"]["auc"])
    for at, name in enumerate(("size", "colour")):
        error = theirs.importances_std[at] * np.sqrt(2 / 40)
        assert ours[name]["drop"] == pytest.approx(theirs.importances_mean[at], abs=4 * error)
    curves = {
        one["column"]: one for one in read(finished.run, "partial_dependence.json")["columns"]
    }
    assert curves["colour"]["kind"] == "categorical"
    assert curves["colour"]["values"] == list(Network.colours)
    assert len(curves["size"]["values"]) == 24 == len(set(curves["size"]["values"]))
    assert len(curves["size"]["rug"]) == 9
    for at, name in enumerate(("size", "colour")):
        values = np.array(curves[name]["values"]) if name == "size" else np.arange(4)
        found = partial_dependence(
            network, x, [at], custom_values={at: values}, method="brute",
            response_method="predict_proba",
        )  # fmt: skip
        np.testing.assert_allclose(
            np.array(curves[name]["predictions"])[:, 0], found["average"][0], atol=1e-5
        )


def test_the_files_say_what_was_asked(finished):
    done = ask(finished.run)
    assert done.files == ("importance.json", "partial_dependence.json")
    assert sorted(path.name for path in done.folder.iterdir() if "shap" not in path.name) == [
        *done.files
    ]
    importance = read(finished.run, "importance.json")
    assert importance == json.loads(json.dumps(done.importance))
    assert (importance["split"], importance["metric"], importance["rows"]) == (
        "validation", "auc", 24,
    )  # fmt: skip
    assert [set(one) for one in importance["columns"]] == [
        {"column", "drop", "low", "high", "is_noise"}
    ] * 2
    drops = [one["drop"] for one in importance["columns"]]
    assert drops == sorted(drops, reverse=True)
    assert read(finished.run, "partial_dependence.json")["names"] == ["probability_yes"]


def test_a_fit_that_ends_finds_the_same(finished):
    """From samples in memory, without the seconds, which no two runs have alike."""
    from trainer.engine.batches import Evaluator
    from trainer.models.losses import build_loss

    opened = open_trained(finished.run)
    network = load_network(opened, allow_custom=False)
    evaluator = Evaluator(network, build_loss(opened.loaded.config.loss, opened.task.loss))
    found = compute_importance(
        evaluator,
        load_run_table(opened).samples("validation"),
        opened.preprocessing,
        opened.task,
        split="validation",
        seed=opened.loaded.config.seed,
        level=0.95,
    )
    whole = ask(finished.run).importance
    whole.pop("seconds")
    assert found == whole


def test_when_a_fit_ends_with_it():
    assert should_compute_importance("auto", 455, 30)
    assert not should_compute_importance("auto", 100_000, 41)
    assert should_compute_importance(True, 100_000, 41)
    assert not should_compute_importance(False, 455, 30)
    assert not should_compute_importance(True, 0, 30)


def test_columns_and_checkpoints_can_be_named(finished):
    done = ask(finished.run / "checkpoints" / "last", columns=("colour",))
    assert done.checkpoint == "last"
    curves = read(finished.run, "partial_dependence.json")["columns"]
    assert [one["column"] for one in curves] == ["colour"]
    ask(finished.run, columns=("colour,size",))
    curves = read(finished.run, "partial_dependence.json")["columns"]
    assert [one["column"] for one in curves] == ["colour", "size"]
    with pytest.raises(UsageError, match="did you mean 'colour'"):
        ask(finished.run, columns=("color,size",))


def test_a_table_larger_than_memory_gives_the_same(finished, monkeypatch):
    at_once = ask(finished.run)
    monkeypatch.setattr(engines, "available_memory", lambda: 1_000)
    monkeypatch.setattr(streams, "BATCH_ROWS", 50)
    parts = ask(finished.run)
    for one in (at_once, parts):
        one.importance.pop("seconds")
    assert parts == at_once


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A linear network of two numbers, one with gaps that are marked."""
    folder = tmp_path_factory.mktemp("numbers")
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(2, 150))
    pl.DataFrame(
        {
            "first": first,
            "second": [None if row % 9 == 4 else value for row, value in enumerate(second)],
            "label": 3 * first - second + 0.1 * draw.normal(size=150) + 10,
        }
    ).write_csv(folder / "small.csv")
    config = folder / "config.yaml"
    config.write_text(CONFIG.replace("ENCODE", "onehot"), encoding="utf-8")
    return run_fit(
        config, folder / "runs", "model.layers=[]", "fit.epochs=60", "data.features.exclude=[]",
        "data.numeric.indicator=true",
    )  # fmt: skip


def test_numbers_and_their_surface(numbers):
    done = ask(numbers.run)
    assert done.importance["metric"] == "r2"
    assert [one["column"] for one in done.importance["columns"]] == ["first", "second"]
    assert not done.importance["columns"][0]["is_noise"]
    surface = read(numbers.run, "surface.json")
    assert surface["columns"] == ["first", "second"]
    answers = np.array(surface["predictions"])
    assert answers.shape == (len(surface["y"]), len(surface["x"]))
    # A plane: it rises along the first column and falls along the second, in the target's unit.
    assert np.allclose(np.diff(answers, n=2, axis=0), 0, atol=1e-3)
    assert answers[0, -1] - answers[0, 0] > 5
    assert answers[-1, 0] < answers[0, 0]
    points = surface["points"]
    assert len(points["x"]) == len(points["y"]) == len(points["actual"]) > 20
    assert 5 < np.mean(points["actual"]) < 15
    grid = pl.DataFrame({"first": [surface["x"][3]], "second": [surface["y"][5]]})
    grid.write_csv(numbers.run / "grid.csv")
    opened = open_trained(numbers.run)
    network = load_network(opened, allow_custom=False)
    said = opened.task.decode_outputs(np.asarray(network(opened.preprocessing.transform(grid).x)))
    assert answers[5, 3] == pytest.approx(said[0, 0], rel=1e-5)


@needs_shap
@pytest.mark.parametrize("source", ["rows", "file"])
def test_shap_values_of_a_linear_network_are_exact(numbers, tmp_path, source):
    """Of a linear network they are weight × (value - mean of the background), summed by column."""
    opened = open_trained(numbers.run)
    table = load_run_table(opened)
    wanted = 8
    sample = draw_row_sample(table, "test", 8, opened.loaded.config.seed)
    if source == "file":
        wanted = tmp_path / "few.csv"
        sample.frame.write_csv(wanted)
    done = ask(numbers.run, shap_rows=wanted)
    frame = pl.read_parquet(done.folder / "shap.parquet")
    assert frame.columns == ["row", "answer", "column", "value", "shap"]
    encoder, task = opened.preprocessing, opened.task
    background = draw_row_sample(table, "train", 100, opened.loaded.config.seed).frame
    x, apart = encoder.transform(sample.frame).x, encoder.transform(background).x
    kernel = load_network(opened, allow_custom=False).get_weights()[0][:, 0].astype(float)
    parts = (x - apart.mean(axis=0, dtype=float)) * kernel * task.target.scale[0]
    rows = sample.rows.tolist() if source == "rows" else list(range(8))
    for name, input_ranges in encoder.input_ranges.items():
        ours = frame.filter(pl.col("column") == name).sort("row")
        assert ours["row"].to_list() == rows
        np.testing.assert_allclose(ours["shap"], parts[:, input_ranges].sum(axis=1), atol=1e-4)
        written = [None if one is None else float(one) for one in ours["value"]]
        known = [None if one is None else float(one) for one in sample.frame[name]]
        assert written == known
    facts = read(numbers.run, "shap.json")
    assert facts["rows"] == rows
    assert facts["largest_gap"] < 1e-5
    assert facts["orders"] is None
    answers = np.array(facts["predictions"])[:, 0]
    sums = frame.group_by("row").agg(pl.col("shap").sum()).sort("row")["shap"]
    np.testing.assert_allclose(facts["base"][0] + sums.to_numpy(), answers, atol=1e-4)


@needs_shap
def test_shap_values_add_up(finished):
    done = ask(finished.run, shap_rows=5)
    assert done.files[-2:] == ("shap.json", "shap.parquet")
    frame = pl.read_parquet(done.folder / "shap.parquet")
    assert set(frame["answer"]) == {"probability_yes"}
    assert frame.height == 10
    assert done.shap["largest_gap"] < 1e-6
    again = ask(finished.run, shap_rows=5)
    assert again.shap == done.shap


def test_without_shap_its_install_command_is_told(finished, monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(UsageError, match=r"pip install 'numba.* 'shap"):
        ask(finished.run, shap_rows=5)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A run of two folds."""
    from tests.workflows.test_members import fit_several

    folder = tmp_path_factory.mktemp("folds")
    write_table(folder / "small.csv")
    config = folder / "config.yaml"
    config.write_text(CONFIG.replace("ENCODE", "onehot"), encoding="utf-8")
    return fit_several(config, folder / "runs", "fit.folds=2", "fit.epochs=1").run


def test_members_are_asked_together_about_the_test_rows(several):
    done = ask(several)
    assert done.folder == several / "explanation"
    assert done.checkpoint == "best of 2 members"
    assert done.importance["split"] == "test"
    assert {one["column"] for one in done.importance["columns"]} == {"size", "colour"}
    with pytest.raises(RunError, match="which its members share"):
        ask(several, split="validation")
    one = ask(several / "members" / "0001")
    assert one.importance["split"] == "validation"


def test_data_that_changed_since_are_refused(small, tmp_path):
    done = run_fit(small, tmp_path / "runs", "fit.epochs=1", "data.split.validation=0")
    with pytest.raises(RunError, match="explain it on other rows with --split test"):
        ask(done.run)
    with (tmp_path / "small.csv").open("a") as table:
        table.write("px,1,red,yes\n")
    with pytest.raises(DataError, match="restore the original file") as wrong:
        ask(done.run, split="test")
    assert "--data" not in str(wrong.value)
    assert not (done.run / "explanation").exists()


def test_several_classes(small, tmp_path):
    frame = pl.read_csv(tmp_path / "small.csv")
    third = pl.when(pl.col("size") > 1).then(pl.lit("much")).otherwise(pl.col("label"))
    frame.with_columns(third.alias("label")).write_csv(tmp_path / "small.csv")
    done = run_fit(small, tmp_path / "runs", "fit.epochs=1")
    found = ask(done.run)
    assert found.importance["metric"] == "accuracy"
    curves = read(done.run, "partial_dependence.json")
    assert curves["names"] == [f"probability_{name}" for name in ("much", "no", "yes")]
    answers = np.array(curves["columns"][0]["predictions"])
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert dataclasses.asdict(found)["shap"] is None
