"""The number of networks of the effort `best` follows from the time limit."""

import numpy as np
import polars as pl
import pytest

from trainer.config.load import load_config
from trainer.data.config_proposal import propose_config


@pytest.fixture
def repeats(tmp_path):
    """The repeats that are proposed for a table of this size within a number of seconds."""

    def propose(rows: int, seconds: float | None, effort: str = "best") -> int:
        path, config = tmp_path / "t.csv", tmp_path / "t.yaml"
        numbers = np.random.default_rng(0).normal(size=rows).round(4)
        pl.DataFrame({"x": numbers, "y": 2 * numbers}).write_csv(path)
        config.write_text(propose_config(path, ("y",), config, (), effort, None, seconds).text)
        return load_config(config).config.fit.repeats

    return propose


def test_more_time_gives_more_networks(repeats):
    limits = [16, 20, 30, 1000, 100_000]
    numbers = [repeats(2_000, seconds) for seconds in limits]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (1, 20)
    assert 1 < numbers[2] < 20


def test_larger_tables_give_fewer_networks(repeats):
    assert repeats(20_000, 120) < repeats(2_000, 120)


def test_only_the_effort_best_depends_on_the_limit(repeats):
    assert repeats(2_000, None) == 4
    assert repeats(2_000, 100_000, "balanced") == 1
