"""Output of `fit` and `resume` for runs with repeats or folds."""

from __future__ import annotations

from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Any

from trainer.errors import pluralize
from trainer.report.text import duration, number
from trainer_cli import console
from trainer_cli.fit_output import (
    data_summary,
    print_metrics,
    print_remarks,
    print_resume_command,
    print_summary,
)
from trainer_cli.following import Signals, View

if TYPE_CHECKING:
    from trainer.workflows.events import MembersEvent, MembersFinished

_LINE_SECONDS = 5.0


class MembersView(View["MembersFinished"]):
    """Shows the training of several networks."""

    def __init__(self, stderr: console.Console, *, json: bool = False) -> None:
        self._stderr, self._json = stderr, json
        self._epochs = 0
        self._printed_at = monotonic()

    def show(self, event: MembersEvent, signals: Signals) -> MembersFinished | None:
        from trainer.workflows.events import (
            MemberEnded,
            MembersFinished,
            MembersStarted,
            PackEpochEnded,
            PacksScheduled,
            PackStarted,
        )

        match event:
            case MembersStarted():
                signals.training = True
                _print_start(event, self._stderr)
            case PacksScheduled(plan=plan):
                self._stderr.print(str(plan))
            case PackStarted():
                self._epochs = event.epochs
                after = f", after epoch {event.epoch}" if event.epoch else ""
                names = pluralize(len(event.numbers), "network")
                threads = pluralize(event.device.threads, "thread")
                self._stderr.print(f"{names}{after}: {event.device.name}, {threads}")
            case PackEpochEnded():
                if event.epoch == 1 or monotonic() - self._printed_at >= _LINE_SECONDS:
                    self._printed_at = monotonic()
                    self._stderr.print(_epoch_text(event.epoch, self._epochs, event.results))
            case MemberEnded(status="failed"):
                for problem in event.problems:
                    console.warn(f"network {event.number} failed: {problem}")
            case MemberEnded():
                pass
            case MembersFinished():
                _print_end(event, self._stderr)
                return event
        return None

    def print_result(self, finished: MembersFinished) -> None:
        if self._json:
            console.json_result(_result_json(finished))
        else:
            console.result(str(finished.run))


def _print_start(event: Any, stderr: console.Console) -> None:
    plan = event.plan
    suffix = " (first fold)" if event.folds is not None else ""
    stderr.print(f"{data_summary(plan)}{suffix}")
    folds = "" if event.folds is None else f"{event.folds} folds × "
    stderr.print(
        f"{folds}{pluralize(event.repeats, 'repeat')}: {pluralize(event.members, 'network')}"
    )
    print_remarks(plan, stderr)


def _epoch_text(epoch: int, epochs: int, results: Any) -> str:
    """Return the median losses of an epoch over the networks in training."""
    width = len(str(epochs))
    text = f"epoch {epoch:>{width}}/{epochs}  {len(results)} in training"
    for name in ("loss", "val_loss"):
        values = sorted(
            result.metrics[name] for result in results.values() if name in result.metrics
        )
        if values:
            text += f"  median {name} {number(values[len(values) // 2])}"
    return text


def _print_end(event: MembersFinished, stderr: console.Console) -> None:
    finished = sum(member.status == "finished" for member in event.members)
    ended = f"{pluralize(finished, 'network')} finished: {event.stopped_because}"
    stderr.print(f"{ended}; {duration(event.seconds)}")
    if event.aggregates:
        stderr.print()
        texts = {
            split: {name: _interval(interval) for name, interval in intervals.items()}
            for split, intervals in event.aggregates.items()
        }
        note = "mean ± half-width of its 95% confidence interval over the networks"
        print_metrics(event.run, texts, stderr, note)
        stderr.print()
    print_summary(event.run, f"ensemble: {event.sentence}" if event.sentence else "", stderr)
    print_resume_command(event, stderr)


def _interval(interval: Any) -> str:
    if interval.mean is None:
        return "–"
    if interval.low is None:
        return number(interval.mean)
    return f"{number(interval.mean)} ± {number((interval.high - interval.low) / 2)}"


def _result_json(event: MembersFinished) -> dict[str, Any]:
    """Return the JSON result: the same keys as for a single fit, with mean metrics, and each network."""
    from trainer.report.decisions import decisions_json
    from trainer.runs.directory import RunDirectory

    return {
        "run": str(event.run),
        "status": event.status,
        "epochs": max((member.epochs for member in event.members), default=0),
        # Every network has its own best epoch.
        "best_epoch": None,
        "stopped_because": event.stopped_because,
        "metrics": {
            split: {name: interval.mean for name, interval in intervals.items()}
            for split, intervals in event.aggregates.items()
        },
        "decisions": decisions_json(RunDirectory(event.run)),
        "sentence": event.sentence or None,
        "report": f"{event.run}/report.html" if event.sentence else None,
        "weights_sha256": None,
        "intervals": {
            split: {name: asdict(interval) for name, interval in intervals.items()}
            for split, intervals in event.aggregates.items()
        },
        "members": [
            {
                "number": member.number,
                "run": str(member.run),
                "status": member.status,
                "epochs": member.epochs,
                "best_epoch": member.best_epoch,
                "metrics": member.metrics,
            }
            for member in event.members
        ],
        "seconds": round(event.seconds, 3),
        "timings": {},
    }
