"""Pages of sweeps in all states."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.report.page.html_checks import check_page
from tests.report.page.predicted_runs import HOSTILE
from tests.report.run_files import NOW, SETTINGS
from tests.report.sweep_files import make_sweep, rate_matters
from trainer.report.page import write_sweep_page
from trainer.report.page.html import page_html
from trainer.report.page.sweep import sweep_page
from trainer.report.page.sweep_plots import ranked_trials
from trainer.report.sweeps.axes import make_axes, setting_importance
from trainer.report.sweeps.content import read_sweep
from trainer.runs.sweeps import SweepDirectory

pytest.importorskip("matplotlib")

CONDITIONAL: dict[str, Any] = {
    "space": {
        "optimizer.name": ["adam", "sgd"],
        "optimizer.momentum": "uniform(0, 0.9)",
        "optimizer.learning_rate": "log(1e-4, 1e-1)",
    },
    "pairs": [{"fit.batch_size": [8, 16], "fit.epochs": [5, 9]}],
    "when": {"optimizer.momentum": "optimizer.name == sgd"},
}


def page_of(directory: SweepDirectory) -> Any:
    return sweep_page(read_sweep(directory), NOW)


def titles(directory: SweepDirectory) -> list[str]:
    return [section.title for section in page_of(directory).sections]


def test_finished_sweep_has_all_sections(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, trials=40, kept=7)
    text = write_sweep_page(directory, NOW).read_text(encoding="utf-8")
    check_page(text)
    assert titles(directory) == [
        "Best trials", "Settings", "Importance of the settings", "Learning curves",
        "Comparison of the best trials", "Search", "All trials", "Commands",
    ]  # fmt: skip
    names = [plot.name for plot in page_of(directory).plots()]
    assert names == [
        "trials", "parallel", "setting-0", "setting-1", "setting-2", "shares", "best-curves",
    ]  # fmt: skip
    # The most important setting comes first.
    assert page_of(directory).plots()[2].title == "optimizer.learning_rate"
    best = read_sweep(directory).leaderboard.best
    assert best is not None
    assert f"The best is trial {best.trial.number}" in text
    assert f"trainer sweep {directory.config}" in text
    assert "10 of 40 trials; list all with: trainer ls" in text
    assert write_sweep_page(directory, NOW).read_text(encoding="utf-8") == text


def test_conditions_and_pairs_are_axes(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, trials=60, sweep=CONDITIONAL)
    sweep = read_sweep(directory)
    axes = make_axes(sweep)
    assert [axis.label for axis in axes] == [
        "optimizer", "momentum", "learning_rate", "batch_size, epochs",
    ]  # fmt: skip
    adam = next(row for row in sweep.rows if row.trial.settings["optimizer.name"] == "adam")
    assert axes[1].position(adam.trial.settings) is None
    for row in sweep.rows:
        pair = (row.trial.settings["fit.batch_size"], row.trial.settings["fit.epochs"])
        assert axes[3].value(row.trial.settings) == [(8, 5), (16, 9)].index(pair)
        rate = row.trial.settings["optimizer.learning_rate"]
        assert axes[2].position(row.trial.settings) == pytest.approx((math.log10(rate) + 4) / 3)
    text = page_html(page_of(directory))
    check_page(text)
    assert "not set" in text
    # Colors are CSS variables.
    assert re.findall("#[0-9a-f]{6}", text[text.index("<main>") :]) == []


def test_relevant_setting_is_the_most_important(tmp_path: Path) -> None:
    sweep = read_sweep(make_sweep(tmp_path, trials=80))
    axes = make_axes(sweep)
    for higher in (True, False):
        result = setting_importance(axes, sweep.leaderboard.ranks, higher=higher)
        assert result is not None
        assert result.share[0] > 0.8
        assert result.share[1:].max() < 0.1
    assert setting_importance(axes, sweep.leaderboard.ranks[:11], higher=True) is None
    assert setting_importance((), sweep.leaderboard.ranks, higher=True) is None


def test_too_few_trials_for_importance(tmp_path: Path) -> None:
    text = page_html(page_of(make_sweep(tmp_path, trials=5)), with_plots=False)
    check_page(text)
    assert "Too few trials (5): 12 are needed to estimate the importance of 3 settings." in text
    same = make_sweep(tmp_path, "same", trials=20, score=lambda _: 0.5)
    assert "All trials have the same objective." in page_html(page_of(same), with_plots=False)


def test_outliers_are_clipped(tmp_path: Path) -> None:
    def ending(number: int, value: float) -> Any:
        return "finished", -1e6 if number == 7 else value, ""

    directory = make_sweep(tmp_path, trials=30, ending=ending)
    trials = ranked_trials(read_sweep(directory).leaderboard)
    assert trials.clipped == 1
    assert trials.objective.min() > -5
    text = page_html(page_of(directory), with_plots=False)
    assert "1 trial with a much worse val_auc is clipped to the edge of the axis." in text
    regular = ranked_trials(read_sweep(make_sweep(tmp_path, "whole", trials=30)).leaderboard)
    assert regular.clipped == 0


@pytest.mark.parametrize("failed", ["all", "none begun", "one left"])
def test_no_ranked_trials(tmp_path: Path, failed: str) -> None:
    failure: Any = ("failed", math.nan, "expected a finite loss")
    options: dict[str, Any] = {
        "all": {"trials": 4, "ending": lambda *_: failure},
        "none begun": {"trials": 0, "limit": 4, "settings": []},
        "one left": {
            "trials": 4,
            "ending": lambda number, value: ("finished", value, "") if number == 2 else failure,
        },
    }[failed]
    directory = make_sweep(tmp_path, **options)
    text = write_sweep_page(directory, NOW).read_text(encoding="utf-8")
    check_page(text)
    assert ("There are no ranked trials." in text) is (failed != "one left")
    assert ("resume it with: trainer resume" in text) is (failed == "none begun")
    assert ("expected a finite loss" in text) is (failed != "none begun")


def test_unfinished_sweep_shows_the_resume_command(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, trials=8, limit=20, unfinished=2)
    text = page_html(page_of(directory), with_plots=False)
    check_page(text)
    assert "6 of 20 trials ended (6 finished); 2 are unfinished" in text
    assert f"resume it with: trainer resume {directory.path}" in text


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, trials=14)
    number = read_sweep(directory).leaderboard.ranks[0].trial.number
    (directory.trial(number) / "manifest.json").write_text("{")
    (directory.trial(number) / "metrics.jsonl").write_text("{\n{}\n")
    check_page(page_html(page_of(directory)))
    directory.config.write_text("{")
    text = page_html(page_of(directory))
    check_page(text)
    assert "Damaged file: " in text
    assert f"trial {number}" in text
    directory.journal.write_text("[]\n[]\n")
    text = page_html(page_of(directory))
    check_page(text)
    assert "There are no ranked trials." in text


def test_untrusted_text_is_escaped(tmp_path: Path) -> None:
    choices = [[{"dense": {"units": 4, "activation": name}}] for name in HOSTILE]
    directory = make_sweep(
        tmp_path,
        trials=16,
        sweep={"space": {"model.layers": choices, "fit.batch_size": "int(2, 99)"}},
        config={**SETTINGS, "data": {"source": HOSTILE[0], "target": HOSTILE[1]}},
        ending=lambda number, value: (
            ("failed", math.nan, HOSTILE[number % 4]) if number < 4 else ("finished", value, "")
        ),
    )
    text = write_sweep_page(directory, NOW).read_text(encoding="utf-8")
    check_page(text)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert "\x00" not in text


@pytest.mark.slow
def test_page_of_many_trials_is_small(tmp_path: Path) -> None:
    def ending(number: int, value: float) -> Any:
        return ("eliminated" if number % 3 == 0 else "finished"), value, ""

    directory = make_sweep(tmp_path, trials=1000, ending=ending, score=rate_matters)
    text = write_sweep_page(directory, NOW).read_text(encoding="utf-8")
    check_page(text)
    assert "The best 200 of 1,000 trials" in text
    assert len(text) < 600_000
    assert len(re.findall("<tr", text)) < 300


def test_number_of_plots_is_limited(tmp_path: Path) -> None:
    space = {f"x.a{number}": "uniform(0, 1)" for number in range(30)}
    directory = make_sweep(tmp_path, trials=8, sweep={"space": space})
    page = page_of(directory)
    assert sum(plot.name.startswith("setting-") for plot in page.plots()) == 24
    text = page_html(page, with_plots=False)
    assert "Parallel coordinates show 12 of 30 settings." in text
    assert "Plots are shown for 24 of 30 settings." in text
