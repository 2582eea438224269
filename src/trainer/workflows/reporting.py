"""Write the findings of a run that has just been trained or is stored on disk.

`trainer.report.page` writes the page that shows them, once the manifest records how the run ended. No
TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.config.load import LoadedConfig
from trainer.config.schema import Config
from trainer.data.raw_rows import example_row
from trainer.errors import Problem, RunError, command_text
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.example import write_example
from trainer.runs.files import read_json
from trainer.runs.opening import open_run
from trainer.runs.readers import short_repr
from trainer.workflows.decisions import with_decisions
from trainer.workflows.evaluate import load_run_table
from trainer.workflows.findings import EvaluatedRun, FoldData, make_findings
from trainer.workflows.plan import RunPlan, TableCache, locate_problems, make_plan
from trainer.workflows.task import make_task
from trainer.workflows.trained_runs import open_members


def write_run_findings(run: RunDirectory, plan: RunPlan) -> str:
    """Write the findings of an evaluated run.

    Returns:
        The summary sentence.

    Raises:
        StorageError: The run directory cannot be written.
    """
    return _write(run, plan.config, (FoldData(plan.dataset, plan.task),))


def write_ensemble_findings(
    run: RunDirectory, members: Sequence[LoadedConfig], tables: TableCache
) -> str:
    """Write the findings of a run with repeats or folds for the ensemble of its members.

    Args:
        run: The run directory.
        members: The configs of the members.
        tables: The tables that they were trained on.

    Returns:
        The summary sentence.

    Raises:
        StorageError: The run directory cannot be written.
    """
    folds = {member.config.data.split.fold: member for member in members}
    plans = [make_plan(member, tables) for member in folds.values()]
    parts = tuple(FoldData(plan.dataset, plan.task) for plan in plans)
    return _write(run, members[0].config, parts)


def write_missing_findings(path: Path) -> None:
    """Write the findings of an evaluated run on disk if it has none.

    Raises:
        RunError: The run does not exist or is damaged.
        DataError: The data have changed since training.
        StorageError: The run directory cannot be written.
    """
    run = open_run(path).run
    has_evaluation = any(run.evaluation.glob("*.json"))
    if run.findings.exists() or not run.decisions.exists() or not has_evaluation:
        return
    _, members = open_members(run.path)
    folds = {member.loaded.config.data.split.fold: member for member in members}
    parts = []
    for member in folds.values():
        with locate_problems(member.loaded):
            task = make_task(member.loaded.config, member.preprocessing.target)
            parts.append(FoldData(load_run_table(member), task))
    _write(run, members[0].loaded.config, tuple(parts))


def read_sentence(run: RunDirectory) -> str:
    """Return the summary sentence of a run; empty if it has no findings."""
    if not run.findings.exists():
        return ""
    match read_json(run.findings):
        case {"sentence": str(sentence)}:
            return sentence
        case content:
            fix = f"remove it, then: {command_text('report', run.path)}"
            raise RunError(
                Problem(str(run.findings), "the findings of a run", short_repr(content), fix)
            )


def _write(run: RunDirectory, config: Config, parts: tuple[FoldData, ...]) -> str:
    decisions = read_decisions(run)
    assert decisions is not None, "an evaluated run has decisions"
    task = with_decisions(parts[0].task, decisions)
    if decisions.coverage is not None:
        settings = config.evaluate.model_copy(update={"prediction_interval": decisions.coverage})
        config = config.model_copy(update={"evaluate": settings})
    write_example(run, example_row(parts[0].dataset))
    return make_findings(EvaluatedRun(run, config, task, parts)).sentence
