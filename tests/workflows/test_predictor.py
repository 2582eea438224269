"""`trainer.load(run).predict(frame)` returns what `trainer predict` writes."""

import csv
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

import trainer
from tests.marks import slow_except
from tests.workflows.conftest import predict_table, run_fit, run_members
from trainer.errors import DataError, RunError
from trainer.runs.lock import RunLock

TARGETS = {
    "binary": ("data.target=label",),
    "multiclass": ("data.target=color", "data.features.exclude=[id,label]"),
    "multilabel": ("data.target=[yes,large]", "data.features.exclude=[id,label]"),
    "regression": (
        "data.target=weight",
        "data.features.exclude=[id]",
        "evaluate.prediction_interval=0.8",
    ),
}


def write(path):
    rng = np.random.default_rng(5)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "size", "count", "color", "label", "yes", "large", "weight"])
        for row in range(120):
            size = round(float(rng.normal()), 4)
            color = ["red", "green", "blue"][int(rng.integers(3))]
            yes = int(size + (color == "red") > 0.3)
            shown = "" if row % 11 == 5 else size
            label = "yes" if yes else "no"
            weight = round(3 * size + float(rng.normal()), 3)
            table.writerow([f"p{row}", shown, row % 9, color, label, yes, int(size > 0), weight])


def with_pandas(table):
    return pytest.importorskip("pandas").read_csv(table)


def rows_of_text(table):
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


FORMS = {
    "polars": pl.read_csv,
    "columns": lambda table: pl.read_csv(table).to_dict(as_series=False),
    "rows": lambda table: pl.read_csv(table).to_dicts(),
    "rows of text": rows_of_text,
    "pandas": with_pandas,
}


# The tests below predict classes, too.
@pytest.fixture(scope="module", params=slow_except(["multilabel", "regression"], TARGETS))
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictor")
    write(folder / "table.csv")
    config = folder / "config.yaml"
    config.write_text(
        "name: p\ndata: {source: table.csv}\nmodel: {layers: [dense: 4]}\n"
        "fit: {epochs: 2, batch_size: 18}\nevaluate: {report: false}\n",
        encoding="utf-8",
    )
    return run_fit(config, folder / "runs", *TARGETS[request.param]).run


def load(run):
    return trainer.load(run, device="cpu")


def test_rows_in_memory_are_predicted_like_a_file(run):
    table = run.parents[2] / "table.csv"
    expected = predict_table(run, table).frame
    predictor = load(run)
    for name, form in FORMS.items():
        if name == "pandas":
            try:
                import pandas  # noqa: F401
            except ImportError:
                continue
        assert_frame_equal(predictor.predict(form(table)), expected, check_exact=True)


@pytest.mark.parametrize("form", slow_except(["rows of text"], FORMS))
def test_folds_and_repeats_are_predicted_together(folds_run, form):
    table = folds_run.run.parents[2] / "small.csv"
    expected = predict_table(folds_run.run, table).frame
    assert "probability_yes_std" in expected.columns
    predicted = load(folds_run.run).predict(FORMS[form](table))
    assert_frame_equal(predicted, expected, check_exact=True)


@pytest.mark.slow
def test_repeats(tmp_path, small):
    run = run_members(small, tmp_path / "runs", "fit.repeats=2").run
    expected = predict_table(run, tmp_path / "small.csv", "id").frame
    predicted = load(run).predict(pl.read_csv(tmp_path / "small.csv"), keep=["id"])
    assert_frame_equal(predicted, expected, check_exact=True)


def test_unseen_and_missing_values(finished):
    rows = [{"size": 1, "color": "red"}, {"size": 0.5, "color": "violet"}, {"color": None}]
    predicted = load(finished.run).predict(rows)
    assert predicted["unseen"].to_list() == [False, True, False]
    assert predicted["row"].to_list() == [0, 1, 2]
    assert np.isfinite(predicted["probability_yes"].to_numpy()).all()


def test_invalid_rows_are_refused(finished):
    predictor = load(finished.run)
    with pytest.raises(DataError, match=r"frame: expected a column 'color'.*did you mean 'colour'"):
        predictor.predict({"size": [1.0], "colour": ["red"]})
    with pytest.raises(DataError, match="single values in 'size'"):
        predictor.predict({"size": [[1.0, 2.0]], "color": ["red"]})
    with pytest.raises(DataError, match="single values in 'size', found values of type Object"):
        predictor.predict({"size": [object()], "color": ["red"]})
    with pytest.raises(DataError, match="same number of rows"):
        predictor.predict({"size": [1.0, 2.0], "color": ["red"]})
    with pytest.raises(DataError, match="a table with rows, found no rows"):
        predictor.predict(pl.DataFrame({"size": [], "color": []}))
    for data in (7, "small.csv", [1, 2]):
        with pytest.raises(DataError, match="a polars or pandas DataFrame"):
            predictor.predict(data)


def test_run_of_a_version_with_fewer_settings(finished, copied):
    rows = pl.read_csv(finished.run.parents[2] / "small.csv").drop("label")
    config = copied / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    for section, names in {
        "optimizer": ("ema",), "evaluate": ("decoding", "resamples"), "runtime": ("precision",)
    }.items():  # fmt: skip
        for name in names:
            del settings[section][name]
    for section in ("networks", "generation", "compress", "runs"):
        del settings[section]
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    assert_frame_equal(load(copied).predict(rows), load(finished.run).predict(rows))


def test_truncated_config_is_refused(copied):
    config = copied / "config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    for kept in (len(lines) - 1, len(lines) // 2, len(lines) // 4):
        config.write_text("".join(lines[:kept]))
        with pytest.raises(RunError, match="expected every setting of the run, found no "):
            load(copied)


def test_new_settings_are_not_written_last(finished):
    # An older run would lack the last setting, as if its config were truncated.
    assert (finished.run / "config.yaml").read_text().endswith("\n  mlflow: null\n")


def test_run_without_a_checkpoint_is_refused(copied):
    for checkpoint in (copied / "checkpoints").iterdir():
        for file in checkpoint.iterdir():
            file.unlink()
        checkpoint.rmdir()
    with pytest.raises(RunError, match="repeat the run with `trainer fit`"):
        load(copied)
    (copied / "checkpoints" / "last").mkdir()
    (copied / "checkpoints" / "last" / "checkpoint.json").touch()
    with pytest.raises(RunError, match="continue the run: trainer resume"):
        load(copied)
    with RunLock(copied / "lock"), pytest.raises(RunError, match="wait for its first checkpoint"):
        load(copied)


def test_import_is_light():
    code = (
        "import sys, trainer; print([m for m in ('keras', 'polars', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
