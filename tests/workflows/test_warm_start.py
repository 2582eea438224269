"""`fit.warm_start`: training starts with the weights of another run."""

import shutil
from datetime import UTC, datetime

import keras
import numpy as np
import pytest

from tests.kill.comparison import differences
from tests.workflows.conftest import run_members
from trainer.config.load import load_config
from trainer.errors import ConfigError, RunError
from trainer.runs.directory import RunDirectory
from trainer.workflows.building import build_training
from trainer.workflows.events import MembersFinished
from trainer.workflows.members import resume_members
from trainer.workflows.plan import make_plan
from trainer.workflows.plans import manifest_of_plan
from trainer.workflows.session import Session


def plan_of(config, run, *overrides):
    return make_plan(load_config(config, [f"fit.warm_start={run}", *overrides]))


def test_the_best_weights_are_copied(finished, small):
    plan = plan_of(small, finished.run, "seed=5")
    network = build_training(plan, allow_custom=False).network
    saved = keras.models.load_model(finished.run / "checkpoints/best/model.keras")
    for ours, theirs in zip(network.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (record,) = manifest_of_plan(plan, (), datetime.now(UTC)).initial_weights
    assert record.setting == "fit.warm_start"
    assert record.path == str(finished.run / "checkpoints/best")
    assert record.sha256 == finished.weights_sha256


def test_a_new_layer_with_partial(finished, small):
    plan = plan_of(small, finished.run, "model.layers.3={dense: 6}", "fit.warm_start.partial=true")
    assert [str(match) for match in plan.warm_start.layers] == [
        "dense: copied",
        "batch_normalization: copied",
        "dense_1: not copied, expected a layer 'dense_1' in it, found none",
        "head: copied",
    ]


def test_layers_that_do_not_fit_are_listed(finished, small):
    with pytest.raises(ConfigError) as caught:
        plan_of(small, finished.run, "model.layers.0.dense.units=7")
    first, second = caught.value.problems
    assert "weights [5, 6], [6], as in" in first.expected
    assert first.found == "[5, 7], [7]"
    assert "fit.warm_start.partial: true" in first.fix
    assert "weights [6], [6], as in" in second.expected


def test_nothing_fits(finished, small):
    overrides = ("model.layers=[]", "fit.warm_start.partial=true")
    with pytest.raises(ConfigError, match="a layer with the weights of one in"):
        plan_of(small, finished.run, *overrides)


def test_other_inputs_are_a_warning(finished, small):
    (small.parent / "small.csv").write_text(
        (small.parent / "small.csv").read_text().replace("green", "grey")
    )
    (warning,) = (text for text in plan_of(small, finished.run).warnings if "inputs" in text)
    assert "'color=grey'" in warning


@pytest.mark.slow
def test_a_run_of_several_networks_has_no_single_weights(folds_run, small):
    with pytest.raises(RunError, match=r"name one of them, such as .*members/0001"):
        plan_of(small, folds_run.run)


@pytest.mark.slow
def test_folds_start_from_it_and_resume_without_it(finished, small, tmp_path):
    former = tmp_path / "former"
    shutil.copytree(finished.run, former)
    settings = (f"fit.warm_start={former}", "fit.repeats=4", "fit.checkpoint.every=1 epoch")
    whole = run_members(small, tmp_path / "runs", *settings)
    stopped = run_members(small, tmp_path / "runs", *settings, stop_after=3)
    assert stopped.status == "stopped"
    shutil.rmtree(former)
    *_, done = resume_members(stopped.run, Session(("trainer", "resume")))
    assert isinstance(done, MembersFinished)
    for number in range(1, 5):
        ours, theirs = (RunDirectory(run).member(number) for run in (whole.run, stopped.run))
        assert differences(ours, theirs) == []
        records = [RunDirectory(run).read_manifest().initial_weights for run in (ours, theirs)]
        assert records[0] == records[1] != ()


@pytest.mark.slow
def test_networks_that_start_later_need_the_same_weights(finished, trained, small, tmp_path):
    former = tmp_path / "former"
    shutil.copytree(finished.run, former)
    settings = (f"fit.warm_start={former}", "fit.repeats=4", "fit.checkpoint.every=100 epochs")
    stopped = run_members(small, tmp_path / "runs", *settings, stop_after=1)
    shutil.rmtree(former)
    shutil.copytree(trained("seed=9").run, former)
    with pytest.raises(RunError, match="the weights that the first networks"):
        list(resume_members(stopped.run, Session(("trainer", "resume"))))
