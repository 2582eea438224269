"""A run that runs out of time is evaluated, and resumes with the bytes of an uninterrupted one."""

import json

import pytest

from tests.kill.comparison import IGNORED, differences
from tests.workflows.conftest import predict_table, resume_fit
from trainer.config.load import load_config
from trainer.runs.directory import RunDirectory
from trainer.workflows.events import MembersFinished, RunFinished
from trainer.workflows.existing_runs import read_finished
from trainer.workflows.fit import fit_run
from trainer.workflows.members import fit_members, resume_members
from trainer.workflows.session import Session, TimeLimit

REASON = "--max-seconds: 60 seconds have passed"


class CountedLimit(TimeLimit):
    """A limit that has passed at the check with this number."""

    def __init__(self, checks: int) -> None:
        super().__init__(60.0, 0.0, 0.0, 0.0)
        object.__setattr__(self, "counter", iter(range(1, checks)))

    @property
    def is_over(self) -> bool:
        return next(self.counter, None) is None

    def with_reserve(self, seconds: float) -> "CountedLimit":
        return self

    def share(self, part: int, whole: int) -> "CountedLimit":
        return self


def limited(checks: int) -> Session:
    return Session(("trainer", "fit"), time_limit=CountedLimit(checks))


def test_limit_counts_from_its_start_and_is_shared(monkeypatch):
    now, cpu = 100.0, 7.0
    monkeypatch.setattr("trainer.workflows.session.perf_counter", lambda: now)
    monkeypatch.setattr("trainer.workflows.session.process_time", lambda: cpu)
    limit = TimeLimit.from_now(60)
    now, cpu = 110.0, 12.0
    # 5 CPU seconds have taken 10: a busy machine.
    assert limit.with_reserve(15).training_end == 160 - 30
    assert limit.share(1, 4).training_end == 110 + 50 / 4
    assert not limit.is_over
    now = 160.0
    assert limit.is_over


def test_run_whose_time_is_over_is_evaluated_and_resumes_exactly(finished, tmp_path):
    config = finished.run.parents[2] / "config.yaml"
    *_, last = fit_run(load_config(config), limited(3), tmp_path / "runs")
    assert isinstance(last, RunFinished)
    assert (last.status, last.stopped_because) == ("finished", REASON)
    assert 0 < last.epochs < finished.epochs
    assert set(last.metrics) == {"train", "validation", "test"}
    assert read_finished(RunDirectory(last.run)) is None
    resumed = resume_fit(last.run)
    assert resumed.stopped_because == "all epochs done"
    assert differences(last.run, finished.run) == []


@pytest.mark.slow
def test_folds_whose_time_is_over_are_evaluated_and_resume_exactly(folds_run, tmp_path):
    config = folds_run.run.parents[2] / "config.yaml"
    loaded = load_config(config, ["fit.folds=2", "fit.repeats=2"])
    *_, last = fit_members(loaded, limited(3), tmp_path / "runs")
    assert isinstance(last, MembersFinished)
    assert (last.status, last.stopped_because) == ("finished", REASON)
    assert {member.epochs for member in last.members} < set(range(1, 4))
    assert last.aggregates["validation"]["loss"].n == 4
    predict_table(last.run, config.with_name("small.csv"))
    assert read_finished(RunDirectory(last.run)) is None
    *_, resumed = resume_members(last.run, Session())
    assert resumed.stopped_because == "all members done"
    assert [
        difference
        for difference in differences(last.run, folds_run.run)
        if not difference.partition(":")[0].endswith(IGNORED)
    ] == []


@pytest.mark.slow
def test_networks_that_have_no_time_are_left_out(folds_run, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.workflows.packed.pack_schedule.LARGEST_PACK", 2)
    config = folds_run.run.parents[2] / "config.yaml"
    loaded = load_config(config, ["fit.folds=2", "fit.repeats=2"])
    *_, last = fit_members(loaded, limited(4), tmp_path / "runs")
    assert [member.number for member in last.members] == [1, 2]
    manifest = json.loads((last.run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["stopped_because"] == REASON
    assert "--max-seconds: 2 of 4 networks were trained" in manifest["warnings"]
