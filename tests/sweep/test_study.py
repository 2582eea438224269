"""The loop, with a trainer that is a function of the settings; and killed after every line."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

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


def made(tmp_path: Path, *words: str, text: str = BASE) -> SweepDirectory:
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return SweepDirectory.create(tmp_path / "sweeps", "s", sweep_text(load_sweep(path, words)), NOW)


def curve(settings: Settings, epoch: int) -> float:
    """The objective after an epoch: crossing curves, NaN at high learning rates."""
    rate = settings["optimizer.learning_rate"]
    if rate > 5e-2 and epoch > 4:
        return math.nan
    units = settings["model.layers.0.dense.units"]
    return (1 - abs(math.log10(rate) + 2.5) / 4) * (
        1 - math.exp(-epoch * 9 * rate**0.3 / units**0.5)
    )


def length(settings: Settings) -> int:
    """Epochs until it stops of itself."""
    return 5 if settings["model.layers.0.dense.units"] % 5 == 0 else EPOCHS


class FakeTrainer:
    """Trains by `curve`, one pack a batch size; the last epochs of a resumed trial are told again."""

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
                epoch, {number: curve(each, epoch) for number, each in pack.items()}
            )
            for number, settings in list(pack.items()):
                status = self._end(number, settings, epoch, batch)
                if status is not None:
                    yield self._ended(number, pack.pop(number), epoch, status)

    def _end(self, number: int, settings: Settings, epoch: int, batch: Batch) -> Any:
        if math.isnan(curve(settings, epoch)):
            return "failed"
        if number in batch.eliminated:
            return "eliminated"
        if batch.is_stopped:
            return "stopped"
        return "finished" if epoch == length(settings) else None

    def _ended(self, number: int, settings: Settings, epochs: int, status: Any) -> TrialEnded:
        values = {epoch: curve(settings, epoch) for epoch in range(1, epochs + 1)}
        best = max(values, key=lambda epoch: (not math.isnan(values[epoch]), values[epoch]))
        objective = math.nan if status == "failed" else values[best]
        return TrialEnded(number, status, objective, epochs, best, f"trials/{number}", 1.0)


def clock() -> Iterator[float]:
    """Seconds that pass one at each look."""
    now = 0.0
    while True:
        now += 1.0
        yield now


def swept(
    directory: SweepDirectory, batch_size: int = 5, trainer: Any = None
) -> tuple[list[dict[str, Any]], list[StudyEvent]]:
    """The final table and what was told on the way."""
    ticks = clock()
    with Study(directory, "val_auc", batch_size, 1) as study:
        events = list(run_study(study, trainer or FakeTrainer(), lambda: next(ticks)))
        return [row.to_json() for row in study.leaderboard().rows], events


HALVED = ("sweep.halving=2 epochs", "sweep.trials=17")
SWEEPS = [
    ("sweep.search=random", *HALVED),
    ("sweep.search=sobol", *HALVED),
    ("sweep.search=tpe", *HALVED),
    ("sweep.search=tpe", "sweep.trials=12"),
    (
        "optimizer.learning_rate=1e-3,1e-2,6e-2",
        "model.layers.0.dense.units=2,5",
        "sweep.halving=1 epoch",
    ),
]


@pytest.mark.parametrize("words", SWEEPS, ids=["random", "sobol", "tpe", "tpe-whole", "grid"])
def test_killed_after_any_line_the_table_is_the_undisturbed_ones(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    directory = made(tmp_path, *words)
    whole, events = swept(directory)
    assert events[-1] == StudyEnded("trials")
    assert len({row["status"] for row in whole}) > 1
    lines = directory.journal.read_bytes().splitlines(keepends=True)
    for kept in range(len(lines)):
        # dead after a line, and in the middle of the next one
        for torn in (b"", lines[kept][: len(lines[kept]) // 2]):
            directory.journal.write_bytes(b"".join(lines[:kept]) + torn)
            trainer = FakeTrainer()
            again, _ = swept(directory, batch_size=5 if kept == 0 else 3, trainer=trainer)
            assert again == whole
            ended = {row["trial"] for row in whole if _has_ended(lines[:kept], row["trial"])}
            trained = [trial.number for batch in trainer.batches for trial in batch]
            assert sorted(trained) == sorted({row["trial"] for row in whole} - ended)


def _has_ended(lines: list[bytes], number: int) -> bool:
    return any(line.startswith(b'{"event": "end", "number": %d,' % number) for line in lines)


def test_only_what_was_begun_is_resumed(tmp_path: Path) -> None:
    directory = made(tmp_path, "sweep.search=random", "sweep.trials=10")
    swept(directory)
    lines = directory.journal.read_bytes().splitlines(keepends=True)
    directory.journal.write_bytes(b"".join(lines[:4]))
    trainer = FakeTrainer()
    swept(directory, trainer=trainer)
    first, second = trainer.batches
    assert [trial.is_resumed for trial in first] == [True] * 3
    assert [trial.is_resumed for trial in second] == [False] * 5


def test_batches_are_of_the_size_asked_for_and_the_last_is_what_is_left(tmp_path: Path) -> None:
    _, events = swept(made(tmp_path, "sweep.trials=12"))
    assert [len(each.trials) for each in events if isinstance(each, BatchStarted)] == [5, 5, 2]
    assert [each.number for each in events if isinstance(each, TrialEnded)] != list(range(12))


def test_halving_ends_the_worse_of_those_trained_together(tmp_path: Path) -> None:
    words = ("sweep.search=random", "sweep.halving={first: 2 epochs, factor: 2}", "sweep.trials=8")
    rows, events = swept(made(tmp_path, *words), batch_size=8)
    for size in (16, 32):
        pack = {row["trial"]: row for row in rows if row["settings"]["fit.batch_size"] == size}
        going = set(pack)
        for epoch in (2, 4, 8):
            going = {number for number in going if pack[number]["epochs"] >= epoch}
            scores = {number: curve(pack[number]["settings"], epoch) for number in going}
            best = sorted(going, key=lambda number: -scores[number])[: math.ceil(len(going) / 2)]
            for number in going - set(best):
                assert (pack[number]["status"], pack[number]["epochs"]) == ("eliminated", epoch)
            going = set(best)
    assert any(isinstance(each, TrialPackEpoch) and each.epoch == EPOCHS for each in events)


def test_trials_told_again_end_with_their_epoch(tmp_path: Path) -> None:
    class LosingTrainer(FakeTrainer):
        """Loses its first pack after two epochs, and trains it again."""

        def _pack(self, pack: dict[int, Settings], batch: Batch) -> Generator[TrialEvent]:
            for epoch in (1, 2):
                yield TrialPackEpoch(
                    epoch, {number: curve(each, epoch) for number, each in pack.items()}
                )
            yield from super()._pack(pack, batch)

    words = ("sweep.search=random", *HALVED)
    once, _ = swept(made(tmp_path / "a", *words))
    again, _ = swept(made(tmp_path / "b", *words), trainer=LosingTrainer())
    assert any(row["status"] == "eliminated" for row in once)
    assert again == once


def test_without_halving_none_is_eliminated(tmp_path: Path) -> None:
    rows, _ = swept(made(tmp_path, "sweep.trials=10"))
    assert {row["status"] for row in rows} == {"finished", "failed"}


def test_time_ends_a_sweep_and_the_trials_in_training(tmp_path: Path) -> None:
    directory = made(tmp_path, "sweep.max_seconds=40")
    rows, events = swept(directory)
    assert events[-1] == StudyEnded("seconds")
    assert {row["status"] for row in rows} >= {"stopped", "finished"}
    with Study(directory, "val_auc", 5, 1) as study:
        assert study.elapsed_seconds >= 40
        assert list(run_study(study, FakeTrainer(), lambda: 0.0)) == [StudyEnded("seconds")]


def test_an_interrupted_sweep_is_gone_on_with(tmp_path: Path) -> None:
    words = ("sweep.search=tpe", "sweep.trials=12")
    whole, _ = swept(made(tmp_path, *words))
    directory = made(tmp_path / "again", *words)

    def interrupted(batch: Batch) -> Generator[TrialEvent, None, None]:
        for event in FakeTrainer()(batch):
            yield event
            if isinstance(event, TrialEnded) and event.number >= 5:
                return

    rows, events = swept(directory, trainer=interrupted)
    assert events[-1] == StudyEnded("interrupted")
    assert [row["status"] for row in rows].count("open") == 4
    assert swept(directory)[0] == whole


def test_what_the_trainer_raises_ends_this_process_alone(tmp_path: Path) -> None:
    words = ("sweep.search=random", "sweep.trials=6")
    whole, _ = swept(made(tmp_path, *words))
    directory = made(tmp_path / "again", *words)

    def broken(batch: Batch) -> Generator[TrialEvent, None, None]:
        events = FakeTrainer()(batch)
        for _ in range(9):
            yield next(events)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(directory, trainer=broken)
    assert swept(directory)[0] == whole


def test_a_trainer_is_closed_with_the_loop(tmp_path: Path) -> None:
    closed, held = [], []

    def watched(batch: Batch) -> Generator[TrialEvent, None, None]:
        try:
            yield from FakeTrainer()(batch)
        finally:
            closed.append(True)

    def train(batch: Batch) -> Generator[TrialEvent, None, None]:
        held.append(watched(batch))  # so that it is not closed by being forgotten
        return held[0]

    with Study(made(tmp_path), "val_auc", 5, 1) as study:
        events = run_study(study, train, lambda: 0.0)
        assert isinstance(next(events), BatchStarted)
        next(events)
        events.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_another_config_is_not_gone_on_with(tmp_path: Path) -> None:
    directory = made(tmp_path, "sweep.search=random", "sweep.trials=6")
    swept(directory)
    text = directory.config.read_text()
    directory.config.write_text(text.replace("seed: 3", "seed: 4"))
    with pytest.raises(RunError) as caught:
        Study(directory, "val_auc", 5, 1)
    assert "start another sweep" in caught.value.problems[0].fix
    directory.config.write_text(text)
    assert swept(directory)[1] == [StudyEnded("trials")]


def test_a_sweep_without_its_section_is_damaged(tmp_path: Path) -> None:
    directory = made(tmp_path)
    text = directory.config.read_text()
    directory.config.write_text(text[: text.index("sweep:")])
    with pytest.raises(RunError, match="expected a sweep section, found none"):
        Study(directory, "val_auc", 5, 1)


def test_how_it_was_begun_holds(tmp_path: Path) -> None:
    directory = made(tmp_path, "sweep.trials=6")
    with Study(directory, "val_auc", 5, 1) as study:
        assert (study.header.direction, study.elapsed_seconds) == ("higher", 0.0)
        assert study.max_seconds == math.inf
    with Study(directory, "val_loss", 2, 3) as study:
        assert (study.header.objective, study.header.batch_size) == ("val_auc", 5)
        assert study.header.jobs == 1
