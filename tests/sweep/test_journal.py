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

MakeTrialEnd = Callable[..., TrialEnded]
HEADER = SweepHeader("val_auc", "higher", 2, 1)
BATCH = BatchSuggested(
    (
        Trial(0, {"optimizer.learning_rate": 0.1}),
        Trial(1, {"model.layers": [{"dense": 3}], "a": None}),
    )
)


def write_journal(path: Path, make_end: MakeTrialEnd) -> list[Record]:
    records: list[Record] = [
        HEADER, BATCH, RungResult(3, (0, 1), (1,)), make_end(1, 0.25, "eliminated"),
        make_end(0, 0.1 + 0.2, reason="é"), BatchSuggested((Trial(2, {}),)),
    ]  # fmt: skip
    with Journal(path) as journal:
        for number, record in enumerate(records):
            journal.write(record, 0.5 * number)
    return records


def test_written_journal_is_read_back(tmp_path: Path, make_end: MakeTrialEnd) -> None:
    path = tmp_path / "journal.jsonl"
    assert read_journal(path) == []
    assert header_of([]) is None
    records = write_journal(path, make_end)
    assert read_journal(path) == records
    assert header_of(records) == HEADER
    with Journal(path) as journal:
        assert journal.records == records
        assert journal.elapsed_seconds == 2.5
        journal.write(make_end(2), 9.0)
        assert read_journal(path) == journal.records
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == [
        "sweep", "batch", "rung", "end", "end", "batch", "end",
    ]  # fmt: skip


def test_journal_of_an_old_version_is_not_distinct(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write(SweepHeader("val_auc", "higher", 2, 1, is_distinct=True), 0.0)
    header = header_of(read_journal(path))
    assert header is not None
    assert header.is_distinct
    old = json.loads(path.read_text())
    del old["is_distinct"]
    path.write_text(json.dumps(old) + "\n")
    assert header_of(read_journal(path)) == SweepHeader("val_auc", "higher", 2, 1)


def test_nan_objective_is_read_back(tmp_path: Path, make_end: MakeTrialEnd) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for record in (HEADER, BATCH, make_end(0, math.nan)):
            journal.write(record, 0.0)
    last = read_journal(path)[-1]
    assert isinstance(last, TrialEnded)
    assert math.isnan(last.objective)
    assert not last.has_objective


def test_partial_last_line_is_ignored(tmp_path: Path, make_end: MakeTrialEnd) -> None:
    path = tmp_path / "journal.jsonl"
    records = write_journal(path, make_end)
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
def test_damaged_line_is_named(
    tmp_path: Path, make_end: MakeTrialEnd, line: int, change: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "journal.jsonl"
    write_journal(path, make_end)
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    lines[line - 1].update(change)
    path.write_text("".join(json.dumps(record) + "\n" for record in lines))
    with pytest.raises(RunError) as raised:
        read_journal(path)
    (problem,) = raised.value.problems
    assert problem.where == f"{path}:{line}"
    assert problem.expected.startswith(expected)


def test_line_that_is_not_json(tmp_path: Path, make_end: MakeTrialEnd) -> None:
    path = tmp_path / "journal.jsonl"
    write_journal(path, make_end)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"{\n", *lines[2:]]))
    with pytest.raises(RunError, match=r"journal.jsonl:2: expected a JSON object"):
        Journal(path)


def test_journal_without_header(tmp_path: Path, make_end: MakeTrialEnd) -> None:
    path = tmp_path / "journal.jsonl"
    write_journal(path, make_end)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(RunError, match=r":1: expected the event 'sweep' in the first line"):
        read_journal(path)
