"""Pages of runs in all states."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.page.html_checks import check_page
from tests.report.page.predicted_runs import HOSTILE, PLAIN, make_predicted_run, make_predictions
from tests.report.run_files import NOW, make_run, scores, settings
from trainer.config.task_rules import TASK_RULES
from trainer.errors import Problem, StorageError
from trainer.report.page import write_page
from trainer.report.page.figures import png_bytes, svg_text
from trainer.report.page.html import page_html
from trainer.report.page.markdown import page_markdown
from trainer.report.page.writing import run_comparison_page, run_page, write_plots
from trainer.report.predictions import predictions_to_parquet
from trainer.runs.directory import RunDirectory
from trainer.task_names import TaskName
from trainer.tasks.registry import get_task_kind

pytest.importorskip("matplotlib")

TASKS: dict[TaskName, tuple[str, ...]] = {
    "binary": HOSTILE[:2],
    "multiclass": HOSTILE,
    "multilabel": HOSTILE[1:],
    "regression": HOSTILE[:3],
}


def quick(run: RunDirectory) -> str:
    """Render the page without plots and check it."""
    text = page_html(run_page(run, NOW), with_plots=False)
    check_page(text)
    return text


def titles(run: RunDirectory) -> list[str]:
    return [section.title for section in run_page(run, NOW).sections]


@pytest.mark.parametrize("task", TASKS)
def test_untrusted_names_are_escaped(tmp_path: Path, task: TaskName) -> None:
    names = TASKS[task]
    hostile = settings(
        name=names[0], model__layers=[{"dense": {"units": 4, "activation": names[1]}}]
    )
    run = make_predicted_run(tmp_path, task, names, config=hostile, warnings=names)
    text = write_page(run, NOW).read_text(encoding="utf-8")
    page = check_page(text)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
    assert any("שלום" in data for _, data in page.texts) == (HOSTILE[3] in names)
    shown = "".join(data for tag, data in page.texts if tag not in ("script", "style"))
    assert names[1] in shown


def test_page_is_deterministic(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    first = write_page(run, NOW).read_bytes()
    assert write_page(run, NOW.replace(year=2030)).read_bytes() == first


def test_sections_of_binary_classification(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path, warnings=("be warned",))
    page = run_page(run, NOW)
    assert titles(run) == [
        "Warnings",
        "Metrics",
        "Classification",
        "Calibration and thresholds",
        "Training",
        "Error analysis",
        "Feature importance",
        "Data",
        "Preprocessing",
        "Config",
        "Environment",
        "Commands",
    ]
    assert page.lead[-1] == "On 60 test rows, yes is predicted well."
    names = [plot.name for plot in page.plots()]
    assert len(names) == len(set(names))
    assert {"roc", "reliability", "thresholds", "curve-loss", "importance", "surface"} <= set(names)


def test_surface_plot_keeps_the_case_of_the_class(tmp_path: Path) -> None:
    page = run_page(make_predicted_run(tmp_path, names=("no", "MalignantB")), NOW)
    (plot,) = [plot for plot in page.plots() if plot.name == "surface"]
    assert plot.title == "The probability of MalignantB as a function of no and MalignantB"
    assert plot.description.startswith(f"{plot.title}: from 0.1000 to 0.9000. ")


def test_slices_have_captions(tmp_path: Path) -> None:
    text = quick(make_predicted_run(tmp_path))
    assert ">Slices named in the config, test rows<" in text
    assert ">Worst slices, test rows<" in text


def test_sections_of_regression(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path, "regression")
    assert "Predictions and residuals" in titles(run)
    assert not {"Classification", "Calibration and thresholds"} & set(titles(run))


def test_minimal_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert titles(run) == ["Data", "Config", "Environment", "Commands"]
    quick(run)
    run.manifest.unlink()
    run.config.unlink()
    text = quick(run)
    assert "damaged" in text


def test_failed_run_shows_the_error(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    problem = Problem("epoch 3", "a finite loss", "nan", "lower optimizer.learning_rate")
    run.write_manifest(replace(run.read_manifest(), status="failed", problems=(problem,)))
    text = quick(run)
    assert "The run failed: epoch 3: expected a finite loss, found nan" in text
    # There is no checkpoint to resume from.
    assert "trainer resume" not in text
    run.checkpoint("last").mkdir(parents=True)
    assert "trainer resume" in quick(run)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("findings.json", '{"task": "binary"}'),
        ("findings.json", "[1, 2"),
        ("decisions.json", '{"threshold": "high"}'),
        ("explanation/importance.json", '{"columns": 3}'),
        ("explanation/partial_dependence.json", '{"columns": [{"column": "a"}]}'),
        (
            "explanation/partial_dependence.json",
            '{"columns": [{"column": "a", "kind": "numeric", "values": [1, 2], "predictions": [[1]], '
            '"rug": []}]}',
        ),
        (
            "explanation/surface.json",
            '{"columns": ["a", "b"], "x": [1, 2], "y": [1, 2], "predictions": [[1, 2], [3]]}',
        ),
        (
            "explanation/surface.json",
            '{"columns": ["a"], "x": [1, 2], "y": [1, 2], "predictions": []}',
        ),
        ("explanation/shap.json", "7"),
        ("predictions/test.parquet", "PAR1"),
        ("metrics.jsonl", "x\ny\n"),
        ("preprocessing.json", "{}"),
        ("example.json", '{"split": "test", "row": -1, "values": {}}'),
        ("example.json", '{"split": "test", "row": 1, "values": {"a": [1]}}'),
        ("example.json", "[1"),
        ("preprocessing.json", '{"columns": [1, {"name": 2}], "target": 3}'),
        ("config.yaml", "{"),
    ],
)
def test_damaged_files_are_reported(tmp_path: Path, name: str, content: str) -> None:
    run = make_predicted_run(tmp_path)
    (run.path / name).write_text(content)
    text = quick(run)
    if name != "preprocessing.json":
        assert name.rsplit("/", maxsplit=1)[-1] in text
        assert "Damaged" in text or "damage" in text


def test_predictions_of_another_task_are_reported(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    other = make_predictions("multiclass", PLAIN, 8)
    run.write_predictions("test.parquet", predictions_to_parquet(other, ["a", "b", "c", "d"]))
    text = quick(run)
    assert "predictions of the run" in text


def test_run_with_members(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    for number in (1, 2):
        member = make_run(
            tmp_path / "m", minutes=number, evaluations=scores(auc=0.8 + number / 100)
        )
        shutil.copy(run.metrics, member.metrics)
        run.members.mkdir(exist_ok=True)
        member.path.rename(run.member(number))
    page = run_page(run, NOW)
    assert page.lead[0].startswith("2 networks")
    text = quick(run)
    assert "Metrics of the 2 networks" in text
    # Only members have epochs to extend.
    assert "fit.epochs=+20" not in text
    assert "fit.epochs=+20" in quick(RunDirectory(run.member(1)))
    assert "0.8200" in text
    (plot,) = [plot for plot in page.plots() if plot.name == "curve-members"]
    assert "2 networks" in svg_text(plot)


def test_page_of_many_rows_is_small(tmp_path: Path) -> None:
    task: TaskName
    for task, names in (("binary", PLAIN[:2]), ("regression", PLAIN[:3])):
        run = make_predicted_run(tmp_path, task)
        columns = get_task_kind(task).prediction_names(names)
        many = make_predictions(task, names, 20_000)
        run.write_predictions("test.parquet", predictions_to_parquet(many, columns))
        assert write_page(run, NOW).stat().st_size < 600_000


def test_run_comparison(tmp_path: Path) -> None:
    other = settings(optimizer__learning_rate=3e-4)
    first = make_predicted_run(tmp_path)
    second = make_predicted_run(tmp_path, minutes=1, config=other)
    predictions = make_predictions("binary", PLAIN[:2], 60)
    worse = replace(predictions, p=1 - predictions.p)
    worse_bytes = predictions_to_parquet(worse, ["probability_yes"])
    second.write_predictions("test.parquet", worse_bytes)
    page = run_comparison_page([first.path, second.path], NOW)
    text = page_html(page)
    check_page(text)
    assert "optimizer.learning_rate" in text
    assert [plot.name for plot in page.plots()] == ["curves-loss", "curves-val-loss", "roc"]
    (difference,) = [
        block.table
        for section in page.sections
        for block in section.blocks
        if hasattr(block, "table") and block.table.title.startswith("Differences from A")
    ]
    rows = {row[0]: row[1] for row in difference.rows}
    # The same metrics as for baselines.
    assert tuple(rows) == TASK_RULES["binary"].compared_metrics
    assert rows["auc"].startswith("-")
    assert rows["auc"].endswith("worse")
    assert rows["log_loss"].endswith("worse")


def test_runs_are_compared_by_the_metrics_of_the_first(tmp_path: Path) -> None:
    first, second = make_predicted_run(tmp_path), make_predicted_run(tmp_path, minutes=1)
    findings = json.loads(first.findings.read_text(encoding="utf-8"))
    first.write_findings({**findings, "compared_metrics": ["mcc", "auc"]})
    page = run_comparison_page([first.path, second.path], NOW)
    (difference,) = [
        block.table
        for section in page.sections
        for block in section.blocks
        if hasattr(block, "table") and block.table.title.startswith("Differences from A")
    ]
    assert [row[0] for row in difference.rows] == ["mcc", "auc"]


def test_write_plots(tmp_path: Path) -> None:
    full_page = run_page(make_predicted_run(tmp_path), NOW)
    kept = tuple(item for item in full_page.sections if item.key in ("calibration", "explanation"))
    page = replace(full_page, sections=kept)
    paths = write_plots(page, tmp_path / "plots")
    assert [path.stem for path in paths] == [plot.name for plot in page.plots()]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert png_bytes(page.plots()[0]) == paths[0].read_bytes()


def test_storage_error(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.report.mkdir()
    (run.report / "x").write_text("")
    with pytest.raises(StorageError):
        write_page(run, NOW)


def test_weights_and_single_class(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    predictions = make_predictions("binary", PLAIN[:2], 30)
    for changed in (
        replace(predictions, weight=np.linspace(0, 2, 30)),
        replace(predictions, weight=np.zeros(30)),
        replace(predictions, y=np.zeros((30, 1))),
        replace(predictions, p=np.full((30, 1), np.nan, np.float32)),
        replace(predictions, p=np.full((30, 1), 0.5, np.float32)),
    ):
        run.write_predictions("test.parquet", predictions_to_parquet(changed, ["probability_yes"]))
        quick(run)
        names = {"roc", "precision-recall", "reliability", "thresholds"}
        for plot in run_page(run, NOW).plots():
            if plot.name in names:
                assert "nan" not in svg_text(plot)


def test_findings_without_values(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    path = run.path / "findings.json"
    findings = json.loads(path.read_text())
    split = findings["splits"]["test"]
    nothing = {"value": None, "low": None, "high": None}
    split["metrics"] = dict.fromkeys(split["metrics"], nothing)
    split["vs_prior"] = {"accuracy": {**nothing, "is_significant": False}}
    split["linear"] = {}
    path.write_text(json.dumps(findings))
    quick(run)


def test_page_without_matplotlib(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    program = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from trainer.report.page import write_page\n"
        "from trainer.runs.directory import RunDirectory\n"
        "class Without:\n"
        "    def __init__(self, finder): self.finder = finder\n"
        "    def __getattr__(self, name): return getattr(self.finder, name)\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] != 'matplotlib': return self.finder.find_spec(name, *rest)\n"
        "sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]\n"
        "write_page(RunDirectory(Path(sys.argv[1])), datetime.now(UTC))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(run.path)], check=True)
    text = run.report.read_text(encoding="utf-8")
    page = check_page(text)
    assert "pip install &#x27;matplotlib" in text
    assert not page.find_all("svg")
    assert "Metrics" in text


def test_narrow_tables_have_half_width(tmp_path: Path) -> None:
    text = quick(make_predicted_run(tmp_path))
    assert '<figure class="half"><figcaption>Rows by split</figcaption>' in text
    assert "<figure><figcaption>Test rows: 60</figcaption>" in text


def test_plots_share_a_row(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    text = page_html(run_page(run, NOW))
    check_page(text)
    assert text.count('<div class="plots">') >= 2
    (run.explanation / "partial_dependence.json").unlink()
    (run.explanation / "surface.json").unlink()
    assert '<div class="plots half">' in page_html(run_page(run, NOW))


def inputs_of(run: RunDirectory) -> str:
    text = page_markdown(run_page(run, NOW))
    return text[text.index("## Preprocessing") : text.index("## Config")]


def test_formulas_have_the_fitted_parameters(tmp_path: Path) -> None:
    text = inputs_of(make_predicted_run(tmp_path, "regression", ("width", "price")))
    assert "| width | numeric | 1.0000 (median) | (x - 1.250) / 1.920 | 0 |" in text
    assert "| price | prediction = 2 · output + 0.5000 |" in text
    assert "import keras" not in text  # the run has no model.keras


def test_decisions_are_part_of_the_formulas(tmp_path: Path) -> None:
    text = inputs_of(make_predicted_run(tmp_path))
    assert "| temperature | p = sigmoid(logit(p) / 1.200) |" in text
    assert "| label | yes if p ≥ 0.4300, else no |" in text


def test_code_mentions_custom_layers(tmp_path: Path) -> None:
    custom = settings(model__layers=[{"custom": {"function": "my.layers:Gate"}}])
    run = make_predicted_run(tmp_path, config=custom)
    best = run.checkpoint("best")
    best.mkdir(parents=True)
    for name in ("model.keras", "checkpoint.json", "state.npz"):
        (best / name).write_bytes(b"")
    text = inputs_of(run)
    assert "# Import the module of the custom layers here" in text
    assert "row = {'no': 1.25, 'yes': 1.25}" in text
