"""A training of several networks on the command line: what is said of it, its result."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Any

from trainer.errors import command_text
from trainer.report.text import Table, duration, number, pluralize
from trainer_cli import console
from trainer_cli.fit_output import Signals, data_summary, print_choices

if TYPE_CHECKING:
    from trainer.workflows.members import Event, MembersFinished

_LINE_SECONDS = 5.0


def follow_members(
    events: Generator[Event, None, None], stderr: console.Console, signals: Signals
) -> MembersFinished:
    """Run a training of several networks to its end, saying what happens."""
    from trainer.workflows.members import MembersFinished, MembersStarted
    from trainer.workflows.pack_events import MemberEnded, PackEpochEnded, PackStarted
    from trainer.workflows.work_items import PacksScheduled

    epochs = 0
    said_at = monotonic()
    try:
        for event in events:
            match event:
                case MembersStarted():
                    signals.training = True
                    _print_start(event, stderr)
                case PacksScheduled(plan=plan):
                    stderr.print(str(plan))
                case PackStarted():
                    epochs = event.epochs
                    after = f", after epoch {event.epoch}" if event.epoch else ""
                    names = pluralize(len(event.numbers), "network")
                    threads = pluralize(event.device.threads, "thread")
                    stderr.print(f"{names}{after}: {event.device.name}, {threads}")
                case PackEpochEnded():
                    if event.epoch == 1 or monotonic() - said_at >= _LINE_SECONDS:
                        said_at = monotonic()
                        stderr.print(_epoch_text(event.epoch, epochs, event.results))
                case MemberEnded(status="failed"):
                    for problem in event.problems:
                        console.warn(f"network {event.number} failed: {problem}")
                case MemberEnded():
                    pass
                case MembersFinished():
                    _print_end(event, stderr)
                    return event
    finally:
        signals.training = False
        events.close()
    raise AssertionError("a run of several networks ends with MembersFinished")


def print_members_result(finished: MembersFinished, *, json: bool) -> None:
    """The result on stdout."""
    if json:
        console.json_result(_facts(finished))
    else:
        console.result(str(finished.run))


def _print_start(event: Any, stderr: console.Console) -> None:
    plan = event.plan
    of_first = " (first fold)" if event.folds is not None else ""
    stderr.print(f"{data_summary(plan)}{of_first}")
    folds = "" if event.folds is None else f"{event.folds} folds × "
    stderr.print(
        f"{folds}{pluralize(event.repeats, 'repeat')}: {pluralize(event.members, 'network')}"
    )
    for warning in plan.warnings:
        console.warn(warning)
    for note in plan.notes:
        stderr.print(f"note: {note}")


def _epoch_text(epoch: int, epochs: int, results: Any) -> str:
    """The medians of an epoch's losses over the networks in training."""
    width = len(str(epochs))
    text = f"epoch {epoch:>{width}}/{epochs}  {len(results)} in training"
    for name in ("loss", "val_loss"):
        values = sorted(one.metrics[name] for one in results.values() if name in one.metrics)
        if values:
            text += f"  median {name} {number(values[len(values) // 2])}"
    return text


def _print_end(event: MembersFinished, stderr: console.Console) -> None:
    from trainer.report.decisions import read_decision_summary
    from trainer.runs.directory import RunDirectory

    done = sum(one.status == "finished" for one in event.members)
    stderr.print(f"{pluralize(done, 'network')} finished; {duration(event.seconds)}")
    if event.aggregates:
        stderr.print()
        splits = list(event.aggregates)
        names = dict.fromkeys(name for split in splits for name in event.aggregates[split])
        choices = read_decision_summary(RunDirectory(event.run))
        rows = tuple(
            (
                choices.labels.of(name),
                *(_interval(event.aggregates[split].get(name)) for split in splits),
            )
            for name in names
        )
        right = frozenset(range(1, len(splits) + 1))
        stderr.table(Table("", ("", *splits), rows, right))
        stderr.print("mean ± half of its 95% interval over the networks")
        print_choices(choices, stderr)
        stderr.print()
    if event.sentence:
        stderr.print(f"together: {event.sentence}")
        stderr.print(f"report: {event.run}/report.html")
        stderr.print()
    if event.status == "stopped":
        stderr.print(f"resume with: {command_text('resume', event.run)}")


def _interval(one: Any) -> str:
    if one is None or one.mean is None:
        return "–"
    if one.low is None:
        return number(one.mean)
    return f"{number(one.mean)} ± {number((one.high - one.low) / 2)}"


def _facts(event: MembersFinished) -> dict[str, Any]:
    """The keys of a single fit, metrics as means over the networks, and more of each of them."""
    from trainer.report.decisions import decisions_json
    from trainer.runs.directory import RunDirectory

    return {
        "run": str(event.run),
        "status": event.status,
        "epochs": max((one.epochs for one in event.members), default=0),
        # Each network has its own.
        "best_epoch": None,
        "stopped_because": event.stopped_because,
        "metrics": {
            split: {name: one.mean for name, one in measured.items()}
            for split, measured in event.aggregates.items()
        },
        "decisions": decisions_json(RunDirectory(event.run)),
        "sentence": event.sentence or None,
        "report": f"{event.run}/report.html" if event.sentence else None,
        "weights_sha256": None,
        "intervals": {
            split: {name: asdict(one) for name, one in measured.items()}
            for split, measured in event.aggregates.items()
        },
        "members": [
            {
                "number": one.number,
                "run": str(one.run),
                "status": one.status,
                "epochs": one.epochs,
                "best_epoch": one.best_epoch,
                "metrics": one.metrics,
            }
            for one in event.members
        ],
        "seconds": round(event.seconds, 3),
        "timings": {},
    }
