"""`trainer compress`: a new run with smaller weights, compared with the one it started from."""

import shutil
from itertools import count

import numpy as np
import pytest

from tests.kill.comparison import differences
from tests.workflows.conftest import run_members
from trainer.errors import ConfigError, RunError, UsageError
from trainer.export.keras_files import read_network
from trainer.report.page.run_content import read_run_content
from trainer.report.page.writing import run_page
from trainer.runs.compression import read_compression
from trainer.runs.directory import RunDirectory
from trainer.workflows.compression import CompressOptions, compress_config
from trainer.workflows.events import RunFinished
from trainer.workflows.export import export_run
from trainer.workflows.fit import fit_run
from trainer.workflows.resuming.resume import resume_run
from trainer.workflows.session import Session, TimeLimit

REPORT = ("evaluate.report=true", "evaluate.resamples=100", "evaluate.baselines=[]")
OPTIONS = CompressOptions(0.5, 3, "int8", 6, (*REPORT, "fit.checkpoint.every=1 epoch"))


def compress(run, runs, options=OPTIONS, *, stop_after=None, limit=600.0):
    """Compress a run; a time limit keeps the exports from being measured."""
    checks = count(1)
    session = Session(
        ("trainer", "compress"),
        False,
        lambda: "stopped" if stop_after and next(checks) >= stop_after else None,
        None if limit is None else TimeLimit.from_now(limit),
    )
    *_, last = fit_run(compress_config(run, options), session, runs)
    assert isinstance(last, RunFinished)
    return last


@pytest.fixture(scope="module")
def compressed(trained, tmp_path_factory):
    return compress(trained().run, tmp_path_factory.mktemp("compressed"))


def test_the_weights_are_as_asked(trained, compressed):
    record = read_compression(RunDirectory(compressed.run))
    assert record is not None
    assert record.source == str(trained().run)
    assert [kernel.name for kernel in record.kernels] == ["dense", "head"]
    for kernel in record.kernels:
        assert kernel.zeros >= round(0.5 * kernel.weights)
        assert kernel.values <= 3
    assert record.before is not None
    assert record.after.weights.compressed < record.before.weights.compressed
    assert record.after.exports == ()


def test_metrics_are_compared_with_those_before(compressed):
    record = read_compression(RunDirectory(compressed.run))
    assert record is not None
    assert record.split == "test"
    change = record.metrics["accuracy"]
    assert change.difference is not None
    assert "times less than before" in record.sentence
    assert record.sentence in compressed.sentence


@pytest.mark.slow
def test_the_best_epoch_is_one_after_compression(compressed):
    manifest = RunDirectory(compressed.run).read_manifest()
    assert manifest.best_epoch is not None
    assert manifest.best_epoch >= 3


@pytest.mark.slow
def test_a_stopped_compression_continues_with_the_same_bytes(trained, compressed, tmp_path):
    stopped = compress(trained().run, tmp_path, stop_after=3)
    assert stopped.status == "stopped"
    session = Session(("trainer", "resume"), time_limit=TimeLimit.from_now(600))
    *_, done = resume_run(stopped.run, (), session)
    assert done.status == "finished"
    assert differences(compressed.run, stopped.run) == []


def test_the_page_shows_what_has_changed(compressed):
    run = RunDirectory(compressed.run)
    page = run_page(run, run.read_manifest().started)
    (section,) = (part for part in page.sections if part.key == "compression")
    tables = {block.table.title: block.table for block in section.blocks if hasattr(block, "table")}
    assert "Metrics, test rows" in tables
    assert tables["Size and time of one row"].rows[0][0] == "weights"
    assert read_run_content(run, run.read_manifest().started).problems == ()


def test_the_export_to_numpy_has_integers(compressed, tmp_path):
    result = export_run(compressed.run, "numpy", tmp_path / "model", allow_custom=False)
    assert result.check.difference <= 1e-5
    with np.load(result.path / "model.npz") as arrays:
        codes = {name: array.dtype for name, array in arrays.items() if "dense/kernel" in name}
    assert codes["members/0000/dense/kernel/codes"].itemsize == 1


@pytest.mark.slow
def test_a_run_without_the_run_before(trained, tmp_path):
    former = tmp_path / "former"
    shutil.copytree(trained().run, former)
    stopped = compress(former, tmp_path / "runs", stop_after=3)
    shutil.rmtree(former)
    session = Session(("trainer", "resume"), time_limit=TimeLimit.from_now(600))
    *_, done = resume_run(stopped.run, (), session)
    assert done.status == "finished"
    record = read_compression(RunDirectory(stopped.run))
    assert record is not None
    assert record.before is None
    assert "not compared with the run of fit.warm_start" in record.notes[0]


def test_options_that_are_wrong_are_all_reported(trained):
    with pytest.raises(UsageError) as caught:
        compress_config(trained().run, CompressOptions(1.5, 1, "int4", 0))
    wheres = [problem.where for problem in caught.value.problems]
    assert wheres == ["--prune", "--cluster", "--quantize", "--epochs"]
    with pytest.raises(UsageError, match="--prune, --cluster or --quantize"):
        compress_config(trained().run, CompressOptions(None, None, None, None))


def test_settings_of_the_run_that_conflict(trained):
    options = CompressOptions(0.5, None, None, 3, ("optimizer.ema=0.9",))
    with pytest.raises(ConfigError, match="averages are not compressed"):
        compress_config(trained().run, options)


@pytest.mark.slow
def test_a_run_of_several_networks_is_refused(folds_run):
    with pytest.raises(RunError) as caught:
        compress_config(folds_run.run, CompressOptions(0.5, None, "int8", None))
    (problem,) = caught.value.problems
    assert problem.found == "a run of several"
    assert "members/0001 --prune 0.5 --quantize int8" in problem.fix


@pytest.mark.slow
def test_folds_are_compressed_each_on_its_own(small, tmp_path):
    run = run_members(small, tmp_path, "fit.folds=2", "compress.prune=0.5")
    for number in (1, 2):
        member = RunDirectory(RunDirectory(run.run).member(number))
        arrays = [array for layer in read_network(member.best / "model.keras").layers()
                  for array in layer.weights if array.ndim > 1]  # fmt: skip
        for array in arrays:
            assert array.size - np.count_nonzero(array) == round(0.5 * array.size)


@pytest.mark.slow
def test_exports_are_measured_and_int8_is_evaluated(trained, tmp_path):
    run = compress(trained().run, tmp_path, limit=None)
    record = read_compression(RunDirectory(run.run))
    assert record is not None
    assert record.before is not None
    names = [export.name for export in record.after.exports]
    assert names == ["onnx", "numpy", "litert", "litert int8"]
    assert [export.name for export in record.before.exports] == ["onnx", "numpy", "litert"]
    assert "accuracy" in record.exported["litert int8"]
    assert record.notes == ()
