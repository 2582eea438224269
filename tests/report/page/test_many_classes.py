"""Pages of runs with 20, 100 and 150 classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.page.html_checks import check_page
from tests.report.page.predicted_runs import make_predicted_run, make_predictions
from tests.report.run_files import NOW
from trainer.report.findings_tables import findings_tables
from trainer.report.page import write_page
from trainer.report.page.content import Page, Plot, TableBlock
from trainer.report.page.figures import svg_text
from trainer.report.page.html import page_html
from trainer.report.page.markdown import page_markdown
from trainer.report.page.writing import run_page
from trainer.report.predictions import predictions_to_parquet
from trainer.runs.directory import RunDirectory
from trainer.tasks.registry import get_task_kind

pytest.importorskip("matplotlib")


def names_of(count: int) -> tuple[str, ...]:
    special = ("🐟 fish", "a|b", "x" * 90, "<b>bold</b>", "日本語", "O'Neill & Söhne")
    return (*special, *(f"class {index:03d}" for index in range(count - len(special))))


def run_of(root: Path, count: int, rows: int | None = None) -> RunDirectory:
    return make_predicted_run(
        root, "multiclass", names_of(count), rows=rows or 4 * count, resamples=20
    )


def grids(page: Page) -> list[TableBlock]:
    return [
        block for item in page.sections for block in item.blocks if isinstance(block, TableBlock)
    ]


def table_block(page: Page, start: str) -> TableBlock:
    (result,) = [item for item in grids(page) if item.table.title.startswith(start)]
    return result


def plot(page: Page, name: str) -> Plot:
    (result,) = [item for item in page.plots() if item.name == name]
    return result


def test_twenty_classes(tmp_path: Path) -> None:
    run = run_of(tmp_path, 20, rows=130)
    page = run_page(run, NOW)
    check_page(page_html(page))
    by_class = table_block(page, "Metrics by class").table
    assert by_class.columns[:2] == ("class", "rows")
    # 130 rows over 20 classes: the first ten have one more.
    assert [row[1] for row in by_class.rows] == ["7"] * 10 + ["6"] * 10
    assert table_block(page, "Confusion matrix: number of test rows").is_collapsed
    assert table_block(page, "Most frequent confusions, number of test rows").table.rows
    svg = svg_text(plot(page, "confusion"))
    assert "class 013" in svg
    assert "🐟 fish" in svg
    frequencies = table_block(page, "Class frequencies").table
    assert frequencies.columns == ("class", "test")
    assert frequencies.rows[0] == ("🐟 fish", "7 (5.4%)")
    text = page_markdown(page)
    assert "Most frequent confusions" in text


def test_class_without_rows(tmp_path: Path) -> None:
    names = names_of(20)
    run = run_of(tmp_path, 20)
    predictions = make_predictions("multiclass", names, 80)
    without_last = predictions.take(predictions.y[:, 19] == 0)
    columns = get_task_kind("multiclass").prediction_names(names)
    run.write_predictions("test.parquet", predictions_to_parquet(without_last, columns))
    page = run_page(run, NOW)
    check_page(page_html(page))
    assert table_block(page, "Metrics by class").table.rows[-1][1] == "0"
    assert table_block(page, "Class frequencies").table.rows[-1] == ("class 013", "0 (0.0%)")
    assert "class 013" not in plot(page, "roc").description


def test_curves_show_the_worst_classes(tmp_path: Path) -> None:
    names = names_of(20)
    run = run_of(tmp_path, 20)
    (run.path / "findings.json").unlink()
    predictions = make_predictions("multiclass", names, 200)
    p = predictions.p.copy()
    worst = [4, 7, 9, 12, 15, 18]
    p[:, worst] = np.where(predictions.y[:, worst] > 0, 0.0, 0.9)
    columns = get_task_kind("multiclass").prediction_names(names)
    run.write_predictions(
        "test.parquet", predictions_to_parquet(replace(predictions, p=p), columns)
    )
    result = plot(run_page(run, NOW), "roc")
    assert "the 6 worst of 20 classes" in result.title
    for index, name in enumerate(names):
        assert (f" {name} 0.0000" in result.description) == (index in worst)


@pytest.mark.slow
def test_page_of_a_hundred_classes_is_small(tmp_path: Path) -> None:
    page = write_page(run_of(tmp_path, 100), NOW)
    text = page.read_text(encoding="utf-8")
    check_page(text)
    assert 'id="confusion-title"' in text
    assert "Confusion matrix: number" not in text
    assert len(text) < 600_000


def test_heat_map_shows_the_classes_with_most_errors(tmp_path: Path) -> None:
    page = run_page(run_of(tmp_path, 150, rows=450), NOW)
    assert plot(page, "confusion").title.endswith("the 60 of 150 classes with the most errors")
    by_class = table_block(page, "Metrics by class")
    assert by_class.is_collapsed
    assert len(by_class.table.rows) == 100
    assert by_class.table.title.endswith("the 100 with the most rows of 150")


def test_wide_matrix_is_replaced_by_confusions(tmp_path: Path) -> None:
    titles = [table.title for table in findings_tables(run_of(tmp_path, 20)).tables]
    assert any(title.startswith("most frequent confusions") for title in titles)
    few = make_predicted_run(tmp_path / "few", "multiclass", ("a", "b", "c"), resamples=20)
    titles = [table.title for table in findings_tables(few).tables]
    assert any(title.startswith("confusion matrix") for title in titles)
