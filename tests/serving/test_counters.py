"""Counters that workers share."""

from __future__ import annotations

from pathlib import Path

from trainer.serving.counters import BOUNDS, Counters, create_file, quoted


def test_counts_of_workers_are_added_and_survive_a_restart(tmp_path: Path) -> None:
    file = create_file(tmp_path / "counters", models=2, workers=3, extra=4)
    first, second = (Counters(["a", "b"], worker, file, 4) for worker in range(2))
    first.count_request("predict", 200)
    second.count_request("predict", 200)
    second.count_request("predict", 422)
    first.count_rows(1, 10, 3)
    first.own[first.extra + 1] += 5
    first.set_gauge("open_connections", 7)
    second.set_gauge("open_connections", 2)
    lines = list(second.text())
    assert 'trainer_requests_total{route="predict",status="200"} 2' in lines
    assert 'trainer_requests_total{route="predict",status="422"} 1' in lines
    assert 'trainer_rows_total{model="b"} 10' in lines
    assert 'trainer_unseen_rows_total{model="b"} 3' in lines
    assert "trainer_open_connections 9" in lines
    assert second.monitored().tolist() == [0, 5, 0, 0]
    # The successor of the first worker continues its counts, but has no connections.
    successor = Counters(["a", "b"], 0, file, 4)
    lines = list(successor.text())
    assert "trainer_open_connections 2" in lines
    assert 'trainer_rows_total{model="b"} 10' in lines


def test_histogram_is_cumulative() -> None:
    counters = Counters(["a"])
    for seconds in (0.00001, BOUNDS[3], BOUNDS[3] * 1.01, 99.0):
        counters.count_duration(seconds)
    buckets = [int(line.rsplit(" ", 1)[1]) for line in counters.text() if "_bucket" in line]
    assert buckets == [1, 1, 1, 2, *[3] * (len(BOUNDS) - 4), 4]


def test_labels_are_quoted() -> None:
    assert quoted('a"b\\c\nd') == r'"a\"b\\c\nd"'


def test_other_statuses_are_counted_as_their_class() -> None:
    counters = Counters(["a"])
    counters.count_request("page", 418)
    counters.count_request("page", 599)
    lines = list(counters.text())
    assert 'trainer_requests_total{route="page",status="400"} 1' in lines
    assert 'trainer_requests_total{route="page",status="500"} 1' in lines
