"""The sweep loop with a fake trainer, uninterrupted and killed after each line of the journal."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.marks import slow_except
from trainer.config.sweep_loading import load_sweep, sweep_text
from trainer.errors import RunError
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.search import Settings
from trainer.sweep.study import BatchStarted, Study, StudyEnded, StudyEvent, run_study
from trainer.sweep.trials import Batch, Trial, TrialEnded, TrialEvent, TrialPackEpoch

NOW = datetime(2026, 11, 24, tzinfo=UTC)
EPOCHS = 12
BASE = """\
data: {source: x.csv, target: y, task: binary}
model: {layers: [dense: 8]}
fit: {epochs: 12}
metrics: [auc]
seed: 3
sweep:
  space:
    optimizer.learning_rate: log(1e-4, 1e-1)
    model.layers.0.dense.units: int(2, 64, log)
    fit.batch_size: [16, 32]
  objective: val_auc
"""


def make_sweep(tmp_path: Path, *overrides: str, text: str = BASE) -> SweepDirectory:
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return SweepDirectory.create(
        tmp_path / "sweeps", "s", sweep_text(load_sweep(path, overrides)), NOW
    )


def curve(settings: Settings, epoch: int) -> float:
    """Return the objective after an epoch: crossing curves, NaN at high learning rates."""
    rate = settings["optimizer.learning_rate"]
    if rate > 5e-2 and epoch > 4:
        return math.nan
    units = settings["model.layers.0.dense.units"]
    return (1 - abs(math.log10(rate) + 2.5) / 4) * (
        1 - math.exp(-epoch * 9 * rate**0.3 / units**0.5)
    )


def epochs_of(settings: Settings) -> int:
    """Return the epoch at which a trial finishes."""
    return 5 if settings["model.layers.0.dense.units"] % 5 == 0 else EPOCHS


class FakeTrainer:
    """Trains by `curve`, one pack per batch size; a resumed trial reports its epochs again."""

    def __init__(self) -> None:
        self.batches: list[tuple[Trial, ...]] = []

    def __call__(self, batch: Batch) -> Generator[TrialEvent, None, None]:
        self.batches.append(batch.trials)
        for size in (16, 32):
            pack = {
                trial.number: trial.settings
                for trial in batch.trials
                if trial.settings["fit.batch_size"] == size
            }
            yield from self._pack(pack, batch)

    def _pack(self, pack: dict[int, Settings], batch: Batch) -> Generator[TrialEvent, None, None]:
        for epoch in range(1, EPOCHS + 1):
            if not pack:
                return
            yield TrialPackEpoch(
                epoch, {number: curve(settings, epoch) for number, settings in pack.items()}
            )
            for number, settings in list(pack.items()):
                status = self._status_after(number, settings, epoch, batch)
                if status is not None:
                    yield self._trial_ended(number, pack.pop(number), epoch, status)

    def _status_after(self, number: int, settings: Settings, epoch: int, batch: Batch) -> Any:
        if math.isnan(curve(settings, epoch)):
            return "failed"
        if number in batch.eliminated:
            return "eliminated"
        if batch.is_stopped:
            return "stopped"
        return "finished" if epoch == epochs_of(settings) else None

    def _trial_ended(self, number: int, settings: Settings, epochs: int, status: Any) -> TrialEnded:
        values = {epoch: curve(settings, epoch) for epoch in range(1, epochs + 1)}
        best = max(values, key=lambda epoch: (not math.isnan(values[epoch]), values[epoch]))
        objective = math.nan if status == "failed" else values[best]
        return TrialEnded(number, status, objective, epochs, best, f"trials/{number}", 1.0)


def ticking_clock() -> Iterator[float]:
    """Yield seconds, one more each time."""
    now = 0.0
    while True:
        now += 1.0
        yield now


def run_sweep(
    directory: SweepDirectory, batch_size: int = 5, trainer: Any = None
) -> tuple[list[dict[str, Any]], list[StudyEvent]]:
    """Return the final table and the events."""
    ticks = ticking_clock()
    with Study(directory, "val_auc", batch_size, 1) as study:
        events = list(run_study(study, trainer or FakeTrainer(), lambda: next(ticks)))
        return [row.to_json() for row in study.leaderboard().rows], events


HALVING = ("sweep.halving=2 epochs", "sweep.trials=17")
SWEEPS = [
    ("sweep.search=random", *HALVING),
    ("sweep.search=sobol", *HALVING),
    ("sweep.search=tpe", *HALVING),
    ("sweep.search=tpe", "sweep.trials=12"),
    (
        "optimizer.learning_rate=1e-3,1e-2,6e-2",
        "model.layers.0.dense.units=2,5",
        "sweep.halving=1 epoch",
    ),
]


@pytest.mark.parametrize(
    "overrides",
    slow_except([(SWEEPS[2],), (SWEEPS[4],)], [(overrides,) for overrides in SWEEPS]),
    ids=["random", "sobol", "tpe", "tpe-without-halving", "grid"],
)
def test_killed_at_any_line_gives_the_same_result(
    tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    directory = make_sweep(tmp_path, *overrides)
    expected, events = run_sweep(directory)
    assert events[-1] == StudyEnded("trials")
    assert len({row["status"] for row in expected}) > 1
    lines = directory.journal.read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        # killed after a line, and in the middle of the next one
        for partial in (b"", lines[count][: len(lines[count]) // 2]):
            directory.journal.write_bytes(b"".join(lines[:count]) + partial)
            trainer = FakeTrainer()
            again, _ = run_sweep(directory, batch_size=5 if count == 0 else 3, trainer=trainer)
            assert again == expected
            ended = {row["trial"] for row in expected if _has_ended(lines[:count], row["trial"])}
            trained = [trial.number for batch in trainer.batches for trial in batch]
            assert sorted(trained) == sorted({row["trial"] for row in expected} - ended)


def _has_ended(lines: list[bytes], number: int) -> bool:
    return any(line.startswith(b'{"event": "end", "number": %d,' % number) for line in lines)


def test_only_started_trials_are_resumed(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, "sweep.search=random", "sweep.trials=10")
    run_sweep(directory)
    lines = directory.journal.read_bytes().splitlines(keepends=True)
    directory.journal.write_bytes(b"".join(lines[:4]))
    trainer = FakeTrainer()
    run_sweep(directory, trainer=trainer)
    first, second = trainer.batches
    assert (len(first), len(second)) == (3, 5)


def test_batch_sizes(tmp_path: Path) -> None:
    _, events = run_sweep(make_sweep(tmp_path, "sweep.trials=12"))
    assert [len(event.trials) for event in events if isinstance(event, BatchStarted)] == [5, 5, 2]
    assert [event.number for event in events if isinstance(event, TrialEnded)] != list(range(12))


def test_halving_eliminates_the_worst_half_of_a_pack(tmp_path: Path) -> None:
    overrides = (
        "sweep.search=random",
        "sweep.halving={first: 2 epochs, factor: 2}",
        "sweep.trials=8",
    )
    rows, events = run_sweep(make_sweep(tmp_path, *overrides), batch_size=8)
    for size in (16, 32):
        pack = {row["trial"]: row for row in rows if row["settings"]["fit.batch_size"] == size}
        survivors = set(pack)
        for epoch in (2, 4, 8):
            survivors = {number for number in survivors if pack[number]["epochs"] >= epoch}
            scores = {number: curve(pack[number]["settings"], epoch) for number in survivors}
            best = sorted(survivors, key=lambda number: -scores[number])[
                : math.ceil(len(survivors) / 2)
            ]
            for number in survivors - set(best):
                assert (pack[number]["status"], pack[number]["epochs"]) == ("eliminated", epoch)
            survivors = set(best)
    assert any(isinstance(event, TrialPackEpoch) and event.epoch == EPOCHS for event in events)


def test_repeated_epochs_eliminate_the_same_trials(tmp_path: Path) -> None:
    class RestartingTrainer(FakeTrainer):
        """Restarts every pack after two epochs."""

        def _pack(self, pack: dict[int, Settings], batch: Batch) -> Generator[TrialEvent]:
            for epoch in (1, 2):
                yield TrialPackEpoch(
                    epoch, {number: curve(settings, epoch) for number, settings in pack.items()}
                )
            yield from super()._pack(pack, batch)

    overrides = ("sweep.search=random", *HALVING)
    once, _ = run_sweep(make_sweep(tmp_path / "a", *overrides))
    again, _ = run_sweep(make_sweep(tmp_path / "b", *overrides), trainer=RestartingTrainer())
    assert any(row["status"] == "eliminated" for row in once)
    assert again == once


def test_without_halving_no_trial_is_eliminated(tmp_path: Path) -> None:
    rows, _ = run_sweep(make_sweep(tmp_path, "sweep.trials=10"))
    assert {row["status"] for row in rows} == {"finished", "failed"}


def test_time_limit_stops_trials_in_training(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, "sweep.max_seconds=40")
    rows, events = run_sweep(directory)
    assert events[-1] == StudyEnded("seconds")
    assert {row["status"] for row in rows} >= {"stopped", "finished"}
    with Study(directory, "val_auc", 5, 1) as study:
        assert study.elapsed_seconds >= 40
        assert list(run_study(study, FakeTrainer(), lambda: 0.0)) == [StudyEnded("seconds")]


def test_interrupted_sweep_is_resumed(tmp_path: Path) -> None:
    overrides = ("sweep.search=tpe", "sweep.trials=12")
    expected, _ = run_sweep(make_sweep(tmp_path, *overrides))
    directory = make_sweep(tmp_path / "again", *overrides)

    def interrupted(batch: Batch) -> Generator[TrialEvent, None, None]:
        for event in FakeTrainer()(batch):
            yield event
            if isinstance(event, TrialEnded) and event.number >= 5:
                return

    rows, events = run_sweep(directory, trainer=interrupted)
    assert events[-1] == StudyEnded("interrupted")
    assert [row["status"] for row in rows].count("unfinished") == 4
    assert run_sweep(directory)[0] == expected


def test_sweep_is_resumed_after_an_exception(tmp_path: Path) -> None:
    overrides = ("sweep.search=random", "sweep.trials=6")
    expected, _ = run_sweep(make_sweep(tmp_path, *overrides))
    directory = make_sweep(tmp_path / "again", *overrides)

    def broken(batch: Batch) -> Generator[TrialEvent, None, None]:
        events = FakeTrainer()(batch)
        for _ in range(9):
            yield next(events)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(directory, trainer=broken)
    assert run_sweep(directory)[0] == expected


def test_closing_the_loop_closes_the_trainer(tmp_path: Path) -> None:
    closed, generators = [], []

    def closing_trainer(batch: Batch) -> Generator[TrialEvent, None, None]:
        try:
            yield from FakeTrainer()(batch)
        finally:
            closed.append(True)

    def train(batch: Batch) -> Generator[TrialEvent, None, None]:
        generators.append(closing_trainer(batch))  # so that garbage collection does not close it
        return generators[0]

    with Study(make_sweep(tmp_path), "val_auc", 5, 1) as study:
        events = run_study(study, train, lambda: 0.0)
        assert isinstance(next(events), BatchStarted)
        next(events)
        events.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_changed_config_is_rejected(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, "sweep.search=random", "sweep.trials=6")
    run_sweep(directory)
    text = directory.config.read_text()
    directory.config.write_text(text.replace("seed: 3", "seed: 4"))
    with pytest.raises(RunError) as raised:
        Study(directory, "val_auc", 5, 1)
    assert "start another sweep" in raised.value.problems[0].fix
    directory.config.write_text(text)
    assert run_sweep(directory)[1] == [StudyEnded("trials")]


def test_config_without_sweep_section_is_rejected(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path)
    text = directory.config.read_text()
    directory.config.write_text(text[: text.index("sweep:")])
    with pytest.raises(RunError, match="expected a sweep section, found none"):
        Study(directory, "val_auc", 5, 1)


def test_header_is_kept_on_resume(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, "sweep.trials=6")
    with Study(directory, "val_auc", 5, 1) as study:
        assert (study.header.direction, study.elapsed_seconds) == ("higher", 0.0)
        assert study.max_seconds == math.inf
    with Study(directory, "val_loss", 2, 3) as study:
        assert (study.header.objective, study.header.batch_size) == ("val_auc", 5)
        assert study.header.jobs == 1
