"""What `init` writes for numbers and dates that are written as text, and for rows in order of time."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from trainer.config.load import load_config
from trainer.config.members import member_configs
from trainer.data.config_proposal import propose_config
from trainer.data.prepare import prepare

ROWS = 400
AMOUNTS = [17 * row**2 + 5 for row in range(ROWS)]
DAYS = [date(2021, 1, 1) + timedelta(days=row // 2) for row in range(ROWS)]
SHUFFLED = [DAYS[index] for index in np.random.default_rng(0).permutation(ROWS)]
CLASSES = np.where(np.arange(ROWS) % 3, "no", "yes")


@pytest.fixture
def proposed(tmp_path):
    """The config for a table, and the table as that config reads it."""

    def run(table, target="y", effort="balanced"):
        path = tmp_path / "t.csv"
        pl.DataFrame({"z": np.arange(ROWS) % 7, **table}).write_csv(path)
        config = tmp_path / "t.yaml"
        text = propose_config(path, (target,), config, effort=effort).text
        config.write_text(text)
        members = member_configs(load_config(config).config)
        return text, prepare(members[0].config)

    return run


def kinds(dataset):
    return {column.name: column.kind for column in dataset.preprocessing.columns}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([f"${n:,}" for n in AMOUNTS],
         "x: {decimal: point}  # 'x' is read as numbers: '$1,093' is 1093"),
        ([f"{n}%" for n in AMOUNTS], "x: {decimal: point}  # 'x' is read as numbers: '5%' is 5"),
        ([f"{n},5" for n in AMOUNTS], "x: {decimal: comma}  # 'x' is read as numbers: '5,5'"),
    ],
)  # fmt: skip
def test_numbers_as_text_are_features(proposed, values, line):
    text, dataset = proposed({"x": values, "y": CLASSES})
    assert line in text
    assert kinds(dataset) == {"z": "numeric", "x": "numeric"}
    assert dataset.warnings == ()


@pytest.mark.parametrize("date_format", ["%d/%m/%Y", "%m.%d.%Y", "%d-%b-%Y %H:%M", "%Y%m%d"])
def test_dates_as_text_are_features(proposed, date_format):
    moments = [datetime.combine(day, datetime.min.time()) for day in SHUFFLED]
    values = [item.strftime(date_format) for item in moments]
    text, dataset = proposed({"x": values, "y": CLASSES})
    assert "x: {kind: datetime, format: " in text
    assert kinds(dataset)["x"] == "datetime"
    (column,) = (column for column in dataset.preprocessing.columns if column.name == "x")
    assert {"x.weekday=Monday", "x.month=July"} <= set(column.features)
    assert dataset.warnings == ()
    assert "# split: {test: 0.2, by: time, column: x}  # alternative" in text


def test_ambiguous_dates_are_excluded_with_the_setting_to_include_them(proposed):
    values = [f"{row % 12 + 1:02d}/{row % 9 + 1:02d}/{2000 + row % 20}" for row in range(ROWS)]
    text, dataset = proposed({"x": values, "y": CLASSES})
    assert "- x  # ambiguous dates" in text
    assert "data.columns.x.format: '%d/%m/%Y' (day first) or '%m/%d/%Y' (month first)" in text
    assert kinds(dataset) == {"z": "numeric"}
    assert dataset.warnings == ()


@pytest.mark.parametrize(
    ("values", "comment"),
    [
        (
            ["n.v.", *[f"${n:,}" for n in AMOUNTS[1:]]],
            "1 of 400 values are not numbers ('n.v.')",
        ),
        (["slip", *map(str, AMOUNTS[1:])], "not all values are numbers: 'slip'"),
        (
            ["soon", *[f"{day:%d/%m/%Y}" for day in DAYS[1:]]],
            "1 of 400 values are not dates in the format",
        ),
        (
            ["5", *[f"{n}%" for n in AMOUNTS[1:]]],
            "the unit '%' in some rows and no unit in others",
        ),
    ],
)
def test_text_that_is_mostly_numbers_or_dates_has_a_comment(proposed, values, comment):
    text, dataset = proposed({"x": values, "y": CLASSES})
    assert comment in text.partition("split:")[0]
    assert list(kinds(dataset)) == ["z"]
    assert dataset.warnings == ()


@pytest.mark.parametrize(
    "values",
    [[f"${100_000 + n:,}" for n in AMOUNTS], [f"{n}%" for n in AMOUNTS]],
)
def test_target_of_numbers_as_text_is_a_regression(proposed, values):
    text, dataset = proposed({"price": values}, "price")
    assert "task: regression" in text
    assert "price: {decimal: point}  # 'price' is read as numbers: '" in text
    assert dataset.preprocessing.target.task == "regression"
    assert not [item for item in dataset.warnings if "read as" in item]


@pytest.mark.parametrize("date_format", ["%Y-%m-%d", "%d/%m/%Y"])
@pytest.mark.parametrize("days", [DAYS, DAYS[::-1]])
def test_rows_in_the_order_of_a_date_are_split_by_it(proposed, date_format, days):
    values = [day.strftime(date_format) for day in days]
    text, dataset = proposed({"x": values, "y": CLASSES})
    assert "  split: {test: 0.2, validation: 0.2, by: time, column: x}" in text
    assert "  # split: {test: 0.2, validation: 0.2, by: stratified}  # alternative" in text
    assert dataset.warnings == ()
    assert kinds(dataset) == {"z": "numeric"}
    tested = {days[row] for row in np.flatnonzero(dataset.assignment == 2)}
    assert tested == set(sorted(set(DAYS))[-40:])


def test_time_split_needs_every_class_among_the_early_rows(proposed):
    late = np.where(np.arange(ROWS) > 350, "new", CLASSES)
    text, _ = proposed({"x": [str(day) for day in DAYS], "y": late})
    assert "split: {test: 0.0, by: stratified}" in text
    assert "# split: {test: 0.2, by: time, column: x}" in text


@pytest.mark.parametrize(
    "values",
    [
        [str(day) for day in SHUFFLED[:50]] * 8,
        [None, *[str(day) for day in DAYS[1:]]],
        ["2021-01-01"] * 200 + ["2021-01-02"] * 200,
        list(range(ROWS)),
    ],
)
def test_other_columns_propose_no_split_by_time(proposed, values):
    text, _ = proposed({"x": values, "y": CLASSES})
    assert "by: time" not in text


@pytest.mark.parametrize(
    ("levels", "settings"),
    [
        (8, ""),
        (9, "x: {target_mean: true}  # 9 levels"),
        (24, "x: {target_mean: true}  # 24 levels"),
        (25, "x: {target_mean: true, max_levels: 24, min_count: 3}  # 25 levels"),
    ],
)
def test_columns_with_many_levels_have_the_mean_target(proposed, levels, settings):
    values = [f"level {row % levels}" for row in range(ROWS)]
    text, dataset = proposed({"x": values, "y": CLASSES})
    assert settings in text
    assert ("columns:" in text) == bool(settings)
    (column,) = (column for column in dataset.preprocessing.columns if column.name == "x")
    assert (column.target_means is not None) == bool(settings)
    assert dataset.warnings == ()


@pytest.mark.parametrize(("rows", "bins"), [(800, None), (1_700, 34), (6_000, 64)])
def test_dates_have_as_many_bins_as_there_are_rows_for(tmp_path, rows, bins):
    path = tmp_path / "t.csv"
    days = [date(2021, 1, 1) + timedelta(days=row * 7 % 731) for row in range(rows)]
    pl.DataFrame({"when": days, "y": np.arange(rows) % 13 + 0.5}).write_csv(path)
    (tmp_path / "t.yaml").write_text(propose_config(path, ("y",), tmp_path / "t.yaml").text)
    columns = load_config(tmp_path / "t.yaml").config.data.columns
    assert (columns["when"].piecewise_bins if "when" in columns else None) == bins


def test_sentences_are_text_and_not_identifiers(proposed):
    values = [f"row {row} was late, and the box came broken" for row in range(ROWS)]
    text, dataset = proposed({"x": values, "y": CLASSES})
    assert f"x: {{kind: text}}  # {ROWS} different texts" in text
    assert kinds(dataset)["x"] == "text"
    assert dataset.warnings == ()


def test_a_table_of_texts_has_ngrams_and_no_hidden_layers(tmp_path):
    reviews = [
        f"delivery {row} was {'quick' if row % 2 else 'late'}, the box open" for row in range(80)
    ]
    table = tmp_path / "reviews.csv"
    pl.DataFrame({"review": reviews, "y": ["no", "yes"] * 40}).write_csv(table)
    config = tmp_path / "reviews.yaml"
    config.write_text(propose_config(table, ("y",), config).text)
    assert "review: {kind: text}  # 80 different texts" in config.read_text()
    layers = load_config(config).config.model.layers
    assert [layer.settings.kind for layer in layers] == ["dropout"]
    (column,) = prepare(member_configs(load_config(config).config)[0].config).preprocessing.columns
    assert column.kind == "text"
