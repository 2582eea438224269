"""What the answers of a run come to, for one that has just been trained or lies on the disk.

Owns: what the findings are made from. Does not own: the findings (`findings`), the page that shows them
(`trainer.report.page`), which is written when the manifest says how the run ended. No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.config.load import LoadedConfig
from trainer.config.schema import Config
from trainer.errors import Problem, RunError, command_text
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.example import write_example
from trainer.runs.files import read_json
from trainer.runs.opening import open_run
from trainer.runs.readers import shown
from trainer.workflows.decisions import with_decisions
from trainer.workflows.evaluate import load_run_table
from trainer.workflows.example import example_row
from trainer.workflows.findings import EvaluatedRun, FoldData, make_findings
from trainer.workflows.plan import RunPlan, TableCache, locate_problems, make_plan
from trainer.workflows.task import make_task
from trainer.workflows.trained_runs import open_members


def write_run_findings(run: RunDirectory, plan: RunPlan) -> str:
    """Write the findings of a run that has been evaluated.

    Returns:
        The run in a sentence.

    Raises:
        StorageError: They cannot be written.
    """
    return _find(run, plan.config, (FoldData(plan.dataset, plan.task),))


def write_ensemble_findings(
    run: RunDirectory, members: Sequence[LoadedConfig], tables: TableCache
) -> str:
    """Write the findings of a run with repeats or folds: of what they say together.

    Args:
        run: The run directory.
        members: The members' configs.
        tables: The tables that they were trained on.

    Returns:
        The run in a sentence.

    Raises:
        StorageError: They cannot be written.
    """
    folds = {one.config.data.split.fold: one for one in members}
    plans = [make_plan(one, tables) for one in folds.values()]
    parts = tuple(FoldData(plan.dataset, plan.task) for plan in plans)
    return _find(run, members[0].config, parts)


def write_missing_findings(path: Path) -> None:
    """Write the findings of a run that has been evaluated and lies on the disk, where it has none.

    Raises:
        RunError: There is no such run, or it is damaged.
        DataError: Its data are no longer those it was trained on.
        StorageError: They cannot be written.
    """
    run = open_run(path).run
    has_evaluation = any(run.evaluation.glob("*.json"))
    if run.findings.exists() or not run.decisions.exists() or not has_evaluation:
        return
    _, members = open_members(run.path)
    folds = {one.loaded.config.data.split.fold: one for one in members}
    parts = []
    for one in folds.values():
        with locate_problems(one.loaded):
            asked = make_task(one.loaded.config, one.preprocessing.target)
            parts.append(FoldData(load_run_table(one), asked))
    _find(run, members[0].loaded.config, tuple(parts))


def read_sentence(run: RunDirectory) -> str:
    """The run in a sentence; empty where it has no findings."""
    if not run.findings.exists():
        return ""
    match read_json(run.findings):
        case {"sentence": str(sentence)}:
            return sentence
        case found:
            fix = f"remove it, then: {command_text('report', run.path)}"
            raise RunError(Problem(str(run.findings), "the findings of a run", shown(found), fix))


def _find(run: RunDirectory, config: Config, parts: tuple[FoldData, ...]) -> str:
    decisions = read_decisions(run)
    assert decisions is not None, "it was evaluated"
    task = with_decisions(parts[0].task, decisions)
    if decisions.coverage is not None:
        settings = config.evaluate.model_copy(update={"prediction_interval": decisions.coverage})
        config = config.model_copy(update={"evaluate": settings})
    write_example(run, example_row(parts[0].dataset))
    return make_findings(EvaluatedRun(run, config, task, parts)).sentence
