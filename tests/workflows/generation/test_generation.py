"""Runs of task: generate, from the config to new samples."""

import json
import shutil
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.workflows.conftest import resume_fit
from tests.workflows.generation.conftest import IMAGES, ROWS, write_config
from trainer.config.load import load_config
from trainer.data.generation import prepare_generation
from trainer.errors import ConfigError, DataError, RunError, UsageError
from trainer.prediction.predictor import open_predictor
from trainer.runs.directory import RunDirectory
from trainer.runs.log import read_log
from trainer.workflows.compression import CompressOptions, compress_config
from trainer.workflows.fit import fit_run
from trainer.workflows.generation.export import export_generator
from trainer.workflows.generation.plan import make_generation_plan
from trainer.workflows.generation.trained import (
    draw_for,
    evaluate_generator,
    load_generator,
    open_generator,
    samples_csv,
    write_samples,
)
from trainer.workflows.plan import make_plan
from trainer.workflows.session import Session


def sample(run: Path, number: int, seed: int, class_name: str | None = None):
    opened = open_generator(run)
    draw = draw_for(opened, number, seed, class_name)
    return opened, load_generator(opened, "cpu")(draw.inputs), draw


def sample_frame(run: Path, number: int, seed: int, class_name: str | None = None):
    import io

    opened, values, draw = sample(run, number, seed, class_name)
    return pl.read_csv(io.StringIO(samples_csv(opened, values, draw)))


class TestRuns:
    def test_a_run_of_rows_has_measures_and_samples_of_each_epoch(self, rows_run):
        run = RunDirectory(rows_run.run)
        history = read_log(run.metrics)
        assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
        assert set(history[0]) >= {
            "loss", "generator_loss", "discriminator_loss", "discriminator_accuracy",
            "frechet_distance", "sample_precision", "sample_recall", "diversity", "modes",
        }  # fmt: skip
        best = min(history, key=lambda epoch: epoch["frechet_distance"])
        assert rows_run.best_epoch == best["epoch"]
        names = sorted(path.name for path in run.samples.iterdir())
        assert names == ["0001.csv", "0002.csv", "0003.csv", "findings.json"]
        frame = pl.read_csv(run.samples / "0003.csv", try_parse_dates=True)
        assert frame.columns == ["size", "count", "color", "day", "kind"]
        assert frame.height == 64
        assert frame["day"].dtype == pl.Date
        assert frame["count"].dtype == pl.Int64
        assert rows_run.metrics["test"].keys() >= {
            "marginal_difference", "correlation_difference", "detection_auc", "nearest_ratio",
        }  # fmt: skip

    def test_a_run_of_images_writes_one_picture_for_each_epoch(self, images_run):
        run = RunDirectory(images_run.run)
        pictures = sorted(run.samples.glob("*.png"))
        assert [path.name for path in pictures] == ["0001.png", "0002.png"]
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
        assert images_run.metrics["test"]["frechet_distance"] > 0

    def test_the_report_shows_the_samples(self, images_run, rows_run):
        page = (images_run.run / "report.html").read_text()
        assert page.count("data:image/png;base64") == 2
        assert "Fréchet distance" in page
        page = (rows_run.run / "report.html").read_text()
        assert "Generated rows after epoch" in page
        assert "detection" in json.dumps(rows_run.metrics)

    @pytest.mark.parametrize("text", [ROWS, IMAGES])
    def test_an_interrupted_run_equals_an_uninterrupted_one(
        self, text, rows_run, images_run, tmp_path
    ):
        expected = rows_run if text is ROWS else images_run
        folder = expected.run.parents[2]
        checks = count(1)
        session = Session(
            ("trainer", "fit"), interrupted=lambda: "stopped" if next(checks) >= 2 else None
        )
        loaded = load_config(folder / "config.yaml")
        *_, stopped = fit_run(loaded, session, tmp_path / "runs")
        assert stopped.status == "stopped"
        done = resume_fit(stopped.run)
        assert done.weights_sha256 == expected.weights_sha256
        ours, theirs = RunDirectory(done.run), RunDirectory(expected.run)
        same = ["metrics.jsonl", "splits.parquet", "preprocessing.json"]
        same += [f"checkpoints/{name}/state.npz" for name in ("last", "best")]
        same += [f"checkpoints/{name}/model.keras" for name in ("last", "best")]
        same += [f"samples/{path.name}" for path in theirs.samples.iterdir()]
        for name in same:
            assert (ours.path / name).read_bytes() == (theirs.path / name).read_bytes(), name

    def test_a_finished_run_is_extended(self, images_run, tmp_path):
        run = Path(shutil.copytree(images_run.run, tmp_path / "run"))
        done = resume_fit(run, "fit.epochs=+1")
        assert done.epochs == 3
        assert (run / "samples" / "0003.png").exists()


class TestSamples:
    def test_the_same_seed_draws_the_same_rows(self, rows_run):
        first = sample_frame(rows_run.run, 30, 1)
        assert first.equals(sample_frame(rows_run.run, 50, 1).head(30))
        assert not first.equals(sample_frame(rows_run.run, 30, 2))
        assert set(first["kind"]) <= {"a", "b"}

    def test_images_of_a_class_are_written_to_its_folder(self, images_run, tmp_path):
        opened, values, draw = sample(images_run.run, 6, 1, "1")
        assert write_samples(opened, values, draw, tmp_path / "new") == 6
        assert len(list((tmp_path / "new" / "1").glob("*.png"))) == 6
        frame = sample_frame(images_run.run, 6, 1, "1")
        assert frame.columns == [*(f"p{index}" for index in range(12)), "digit"]
        assert set(frame["digit"]) == {1}
        assert frame.drop("digit").to_numpy().max() <= 16

    def test_unknown_classes_are_rejected(self, images_run, rows_run):
        with pytest.raises(UsageError, match="a class \\(0, 1\\)"):
            draw_for(open_generator(images_run.run), 1, 1, "7")
        with pytest.raises(UsageError, match=r"generation\.condition"):
            draw_for(open_generator(rows_run.run), 1, 1, "a")

    def test_evaluation_repeats_the_measures_of_the_run(self, rows_run):
        (result,) = evaluate_generator(open_generator(rows_run.run), ["test"], "cpu")
        for name, value in rows_run.metrics["test"].items():
            assert result.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name

    def test_changed_data_are_not_evaluated(self, rows_run, tmp_path):
        root = Path(shutil.copytree(rows_run.run.parents[2], tmp_path / "copy"))
        run = root / rows_run.run.relative_to(rows_run.run.parents[2])
        config = run / "config.yaml"
        config.write_text(config.read_text().replace(str(rows_run.run.parents[2]), str(root)))
        table = root / "table.csv"
        table.write_text(table.read_text().replace("red", "blue"))
        with pytest.raises(DataError, match="the data of the run"):
            evaluate_generator(open_generator(run), ["test"], "cpu")

    @pytest.mark.parametrize("kind", ["rows", "images"])
    def test_an_onnx_export_draws_the_same_samples(self, kind, rows_run, images_run, tmp_path):
        run = (rows_run if kind == "rows" else images_run).run
        result = export_generator(run, "onnx", tmp_path / "generator.onnx")
        assert result.different < 1e-3
        with pytest.raises(UsageError, match="does not exist yet"):
            export_generator(run, "onnx", tmp_path / "generator.onnx")
        with pytest.raises(UsageError, match="the format for a generator"):
            export_generator(run, "keras", None)

    def test_commands_that_need_predictions_refuse_it(self, rows_run):
        with pytest.raises(RunError, match="draw samples"):
            open_predictor(rows_run.run, device="cpu", allow_custom=False)
        with pytest.raises(RunError, match="one of task: generate"):
            compress_config(rows_run.run, CompressOptions(0.5, None, None, None))
        with pytest.raises(ConfigError, match="a task with a target to predict"):
            make_plan(load_config(rows_run.run / "config.yaml"))


class TestPlans:
    def test_numbers_categories_and_dates(self, tmp_path):
        config = write_config(tmp_path, ROWS)
        rows = prepare_generation(load_config(config).config).preprocessing
        kinds = {
            column.name: (column.kind, column.dtype, column.missing > 0) for column in rows.columns
        }
        assert kinds == {
            "size": ("number", "float", True),
            "count": ("number", "integer", False),
            "color": ("category", "text", True),
            "day": ("number", "date", False),
            "kind": ("category", "text", False),
        }
        assert rows.classes == ("a", "b")

    @pytest.mark.parametrize(
        ("override", "words"),
        [
            ("generation.image=5", "pixel columns"),
            ("fit.batch_size=500", "training rows in a step"),
            ("networks.discriminator.layers=[{dense: 4}]", "one axis before dense"),
            ("networks.generator.layers=[{reshape: [3, 3]}]", "a shape with 6 elements"),
            ("data.features.include=[digit]", "features without the target"),
        ],
    )
    def test_problems_name_the_place(self, override, words, tmp_path):
        config = write_config(tmp_path, IMAGES)
        with pytest.raises((ConfigError, DataError), match=words) as caught:
            make_generation_plan(load_config(config, [override]))
        assert all("override" in problem.where for problem in caught.value.problems)

    def test_problems_of_both_networks_are_reported_at_once(self, tmp_path):
        config = write_config(tmp_path, IMAGES)
        overrides = ["networks.generator.layers=[{reshape: [7]}]", "fit.batch_size=9999"]
        overrides += ["networks.discriminator.layers=[{max_pool2d: 9}]"]
        with pytest.raises(ConfigError) as caught:
            make_generation_plan(load_config(config, overrides))
        assert len(caught.value.problems) == 3

    def test_values_that_are_no_numbers_name_their_line(self, tmp_path):
        config = write_config(tmp_path, ROWS)
        table = tmp_path / "table.csv"
        lines = table.read_text().splitlines()
        lines[10] = f"tall{lines[10][lines[10].index(',') :]}"
        table.write_text("\n".join(lines))
        with pytest.raises(DataError, match=r"table\.csv:11.*a number in 'size'"):
            make_generation_plan(load_config(config))


def test_a_truncated_config_is_refused(rows_run, tmp_path):
    run = shutil.copytree(rows_run.run, tmp_path / "run")
    config = run / "config.yaml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    for end in (lines.index("generation:\n"), len(lines) - 1):
        config.write_text("".join(lines[:end]), encoding="utf-8")
        with pytest.raises(RunError, match="expected every setting of the run, found no "):
            open_generator(run)


def test_measures_notice_a_copy_of_the_training_rows(rows_run):
    from trainer.assessment.generation_tables import compare_tables

    opened = open_generator(rows_run.run)
    data = prepare_generation(opened.loaded.config)
    training, test = data.frame("train"), data.frame("test")
    copied = compare_tables(opened.rows, training, test, training[np.arange(80)])
    assert copied.metrics["copies"] == 1.0
    assert copied.metrics["nearest_ratio"] == pytest.approx(0.0, abs=1e-3)
    assert any("privacy" in warning for warning in copied.warnings)
    honest = compare_tables(opened.rows, training, test, data.frame("validation"))
    assert honest.metrics["nearest_ratio"] == pytest.approx(1.0, abs=0.3)
    assert abs(honest.metrics["detection_auc"] - 0.5) < 0.2
    shuffled = test.with_columns(pl.lit("red").alias("color"), pl.lit(30).alias("count"))
    bad = compare_tables(opened.rows, training, test, shuffled)
    assert bad.metrics["detection_auc"] > 0.75
    assert bad.metrics["marginal_difference"] > honest.metrics["marginal_difference"]
