"""Show training progress: a bar on a terminal, occasional lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from trainer.report.text import number
from trainer_cli import console

if TYPE_CHECKING:
    from trainer.engine.events import EpochEnd, RolledBack, StepCheckpoint
    from trainer.workflows.plans import AnyPlan

_LINES = 10
_ECHO_COLUMNS = 3
_LINE_SECONDS = 10.0
_DRAWS_PER_SECOND = 10


class Progress:
    """Shows the epochs of a training run.

    In a pipe it prints about ten lines, or more if epochs are slow; the full history is in
    metrics.jsonl.
    """

    def __init__(self, stderr: console.Console, plan: AnyPlan) -> None:
        from trainer.config.resolve import monitored_metrics

        self._stderr = stderr
        self._steps_per_epoch = plan.steps_per_epoch
        self._epochs = -(-plan.total_steps // plan.steps_per_epoch)
        self._every = max(1, self._epochs // _LINES)
        self._watched = tuple(metric for _, metric in monitored_metrics(plan.config.fit))
        self._shown_at = monotonic()
        self._bar: Any = None
        if stderr.terminal and not stderr.quiet:
            self._bar = self._start_bar()

    def show(self, event: EpochEnd | StepCheckpoint | RolledBack) -> None:
        """Show an epoch, a part of a long epoch, or a rollback."""
        from trainer.engine.events import EpochEnd, StepCheckpoint

        match event:
            case EpochEnd():
                self._show_epoch(event)
            case StepCheckpoint():
                if self._bar is not None:
                    self._bar.update(self._task, completed=event.step / self._steps_per_epoch)
            case _:
                console.warn(
                    f"epoch {event.epoch}, step {event.step}: the loss is not finite; restarting epoch "
                    f"{event.epoch} with learning rate {event.learning_rate:.4g}"
                )

    def _show_epoch(self, result: EpochEnd) -> None:
        now = monotonic()
        ends = result.stop is not None
        if self._bar is not None:
            if ends or now - self._shown_at >= 1 / _DRAWS_PER_SECOND:
                self._shown_at = now
                metrics = metrics_text(result.metrics, self._watched)
                self._bar.update(self._task, completed=result.epoch, metrics=metrics)
            return
        due = result.epoch % self._every == 0 or now - self._shown_at >= _LINE_SECONDS
        if result.epoch == 1 or due or ends:
            self._shown_at = now
            width = len(str(self._epochs))
            metrics = metrics_text(result.metrics, self._watched)
            self._stderr.print(f"epoch {result.epoch:>{width}}/{self._epochs}  {metrics}")

    def close(self) -> None:
        """Remove the bar; a second call does nothing."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start_bar(self) -> Any:
        from rich.console import Console, RenderableType
        from rich.constrain import Constrain
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
        from rich.table import Column

        terminal = Console(stderr=True)

        class Narrow(Bar):
            """A bar that leaves space for the terminal's ^C: in the last column it would wrap, and the
            bar would be drawn again on the next line.
            """

            def get_renderables(self) -> Iterator[RenderableType]:
                for renderable in super().get_renderables():
                    yield Constrain(renderable, terminal.width - _ECHO_COLUMNS)

        bar = Narrow(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeRemainingColumn(compact=True),
            # Metrics take the remaining width.
            TextColumn("{task.fields[metrics]}", table_column=Column(ratio=1, no_wrap=True)),
            console=terminal,
            refresh_per_second=_DRAWS_PER_SECOND,
            expand=True,
        )
        self._task = bar.add_task("", total=self._epochs, metrics="")
        bar.start()
        return bar


def metrics_text(metrics: dict[str, float], watched: Sequence[str]) -> str:
    """`loss 0.1234  val_loss 0.2345  …`: losses first, then the watched metrics, then others of the
    validation rows, three in all.
    """
    first = [name for name in ("loss", "val_loss") if name in metrics]
    validated = [name for name in metrics if name.startswith("val_")]
    rest = [name for name in (*watched, *(validated or metrics)) if name not in first]
    shown = [*first, *list(dict.fromkeys(rest))[:3]]
    return "  ".join(f"{name} {number(metrics[name])}" for name in shown)
