from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.report.run_files import NOW, make_run, scores, settings
from tests.report.test_comparison import members
from trainer.report.comparison import compare_runs
from trainer.report.comparison_tables import comparison_tables, cut_texts
from trainer.report.text import Table, plain_lines
from trainer.runs.directory import RunDirectory


def tables(*runs: RunDirectory, width: int = 80) -> list[Table]:
    return list(comparison_tables(compare_runs([run.path for run in runs], NOW), width))


def test_two_runs_are_columns(tmp_path: Path) -> None:
    config = settings(seed=8, optimizer={"name": "sgd"})
    first = make_run(tmp_path, evaluations=scores(auc=0.9, f1=0.5))
    second = make_run(tmp_path, config=config, evaluations=scores(auc=0.8))
    runs, changed_settings, validation = tables(first, second)
    assert runs.rows == (
        ("A", str(first.path), "wine", "finished", "20"),
        ("B", str(second.path), "wine", "finished", "20"),
    )
    assert changed_settings.title == "settings that differ"
    assert changed_settings.columns == ("", "A", "B")
    assert changed_settings.rows[:2] == (("seed", "7", "8"), ("optimizer.name", "adam", "sgd"))
    assert ("optimizer.amsgrad", "false", "–") in changed_settings.rows
    assert (validation.title, validation.columns) == ("validation", ("", "A", "B"))
    assert validation.rows == (("auc", "0.9000", "0.8000"), ("f1", "0.5000", "–"))


def test_five_runs_are_rows(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, config=settings(seed=seed), evaluations=scores(auc=seed / 10))
        for seed in range(5)
    ]
    _, changed_settings, validation = tables(*runs)
    assert changed_settings.columns == ("", "seed")
    assert changed_settings.rows == tuple(
        (letter, str(seed)) for seed, letter in enumerate("ABCDE")
    )
    assert validation.columns == ("", "auc")
    assert validation.rows[3] == ("D", "0.3000")


def test_equal_runs(tmp_path: Path) -> None:
    result = tables(make_run(tmp_path), make_run(tmp_path))
    assert [plain_lines(table) for table in result[1:]] == [["no settings differ"]]


def test_intervals_are_shown(tmp_path: Path) -> None:
    single = make_run(tmp_path, evaluations={"test": {"metrics": {"auc": 0.75}}})
    table = tables(members(tmp_path), single)[-1]
    assert table.rows == (("auc", "0.8000 [0.7000, 0.9000]", "0.7500"), ("f1", "–", "–"))


def test_many_runs_fit_the_width(tmp_path: Path) -> None:
    runs = []
    for seed in range(30):
        metrics = {f"metric_{number}": seed / 100 for number in range(12)}
        config = settings(
            seed=seed,
            data__source=f"/a/folder/far/away/with/a/long/name/table-{seed}.csv",
            optimizer={"name": "sgd", **{f"setting_{number}": seed for number in range(9)}},
        )
        runs.append(make_run(tmp_path, config=config, evaluations=scores(**metrics)))
    result = tables(*runs)
    for table in result[1:]:
        assert max(map(len, plain_lines(table))) <= 80
        assert len(table.rows) == 30
    assert result[0].rows[25][0] == "Z"
    assert result[0].rows[26][0] == "AA"
    columns = [name for table in result[1:] for name in table.columns[1:]]
    assert columns[:3] == ["seed", "data.source", "optimizer.setting_0"]
    assert columns[-12:] == [f"metric_{number}" for number in range(12)]
    assert [table.title for table in result].count("settings that differ") == 1
    source = next(table for table in result if "data.source" in table.columns)
    assert source.rows[3][source.columns.index("data.source")] == "…ble-3.csv"


def test_too_wide_column_gets_a_separate_table(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, config=settings(seed=seed, name="n" * seed)) for seed in range(1, 7)]
    assert [table.columns for table in tables(*runs, width=3)[1:]] == [("", "name"), ("", "seed")]


def test_control_characters_are_escaped(tmp_path: Path) -> None:
    config = settings(seed=8, data__columns={"\x1b[31m": {"scale": "\x07"}})
    metrics = {"\x1b[2J": 1.0}
    result = tables(
        make_run(tmp_path, "e\x1bvil", evaluations=scores(**metrics)),
        make_run(tmp_path, config=config, task="\x1b[32m"),
    )
    text = "".join(line for table in result for line in plain_lines(table))
    assert "\x1b" not in text
    assert "\x07" not in text


@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_cut_texts_are_short_and_show_the_difference(texts: list[str]) -> None:
    result = cut_texts(dict(enumerate(texts)))
    assert all(len(text) <= 24 for text in result.values())
    if len(texts) == 2:
        # The first character that differs is visible.
        printable = all(text.isprintable() for text in texts)
        assert (result[0] == result[1]) is (texts[0] == texts[1]) or not printable
