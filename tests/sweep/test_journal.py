from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import RunError
from trainer.sweep.journal import (
    BatchSuggested,
    Journal,
    Record,
    RungResult,
    SweepHeader,
    header_of,
    read_journal,
)
from trainer.sweep.trials import Trial, TrialEnded

End = Callable[..., TrialEnded]
BEGUN = SweepHeader("val_auc", "higher", 2, 1)
BATCH = BatchSuggested(
    (
        Trial(0, {"optimizer.learning_rate": 0.1}),
        Trial(1, {"model.layers": [{"dense": 3}], "a": None}),
    )
)


def written(path: Path, end: End) -> list[Record]:
    records: list[Record] = [
        BEGUN, BATCH, RungResult(3, (0, 1), (1,)), end(1, 0.25, "eliminated"),
        end(0, 0.1 + 0.2, reason="é"), BatchSuggested((Trial(2, {}),)),
    ]  # fmt: skip
    with Journal(path) as journal:
        for number, record in enumerate(records):
            journal.write(record, 0.5 * number)
    return records


def test_what_is_written_reads_back(tmp_path: Path, end: End) -> None:
    path = tmp_path / "journal.jsonl"
    assert read_journal(path) == []
    assert header_of([]) is None
    records = written(path, end)
    assert read_journal(path) == records
    assert header_of(records) == BEGUN
    with Journal(path) as journal:
        assert journal.records == records
        assert journal.elapsed_seconds == 2.5
        journal.write(end(2), 9.0)
        assert read_journal(path) == journal.records
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == [
        "sweep", "batch", "rung", "end", "end", "batch", "end",
    ]  # fmt: skip


def test_a_sweep_of_a_former_version_may_repeat_trials(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write(SweepHeader("val_auc", "higher", 2, 1, is_distinct=True), 0.0)
    begun = header_of(read_journal(path))
    assert begun is not None
    assert begun.is_distinct
    former = json.loads(path.read_text())
    del former["is_distinct"]
    path.write_text(json.dumps(former) + "\n")
    assert header_of(read_journal(path)) == SweepHeader("val_auc", "higher", 2, 1)


def test_an_objective_that_is_no_number_stays_one(tmp_path: Path, end: End) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for record in (BEGUN, BATCH, end(0, math.nan)):
            journal.write(record, 0.0)
    last = read_journal(path)[-1]
    assert isinstance(last, TrialEnded)
    assert math.isnan(last.objective)
    assert not last.has_objective


def test_a_last_line_written_in_part_is_left_off(tmp_path: Path, end: End) -> None:
    path = tmp_path / "journal.jsonl"
    records = written(path, end)
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[-1]) + 1):
        path.write_bytes(whole[:-cut])
        assert read_journal(path) == records[:-1]
    with Journal(path) as journal:
        journal.write(records[-1], 2.5)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "change", "expected"),
    [
        (1, {"format": 2}, "format 1, which this version of trainer writes for 'format'"),
        (1, {"direction": "up"}, "one of higher, lower for 'direction'"),
        (1, {"event": "batch"}, "'trials'"),
        (2, {"event": "begin"}, "one of sweep, batch, rung, end for 'event'"),
        (2, {"trials": [{"number": 1, "settings": {}}]}, "trials numbered from 0"),
        (2, {"trials": [{"number": 0, "settings": 3}]}, "a mapping"),
        (3, {"eliminated": "x"}, "a list for 'eliminated'"),
        (4, {"number": 7}, "a trial in training"),
        (5, {"number": 1}, "a trial in training"),
        (5, {"status": "done"}, "one of finished, failed, eliminated, stopped for 'status'"),
        (5, {"elapsed_seconds": None}, "a number for 'elapsed_seconds'"),
    ],
)
def test_damage_is_told_with_its_line(
    tmp_path: Path, end: End, line: int, change: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, end)
    lines = [json.loads(each) for each in path.read_text().splitlines()]
    lines[line - 1].update(change)
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    with pytest.raises(RunError) as caught:
        read_journal(path)
    (problem,) = caught.value.problems
    assert problem.where == f"{path}:{line}"
    assert problem.expected.startswith(expected)


def test_a_line_that_is_no_json_is_told(tmp_path: Path, end: End) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, end)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"{\n", *lines[2:]]))
    with pytest.raises(RunError, match=r"journal.jsonl:2: expected a JSON object"):
        Journal(path)


def test_a_journal_begins_with_how_the_sweep_was_begun(tmp_path: Path, end: End) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, end)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(RunError, match=r":1: expected the event 'sweep' in the first line"):
        read_journal(path)
