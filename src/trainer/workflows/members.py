"""A run of several networks: the repeats and folds of one config, and their common evaluation.

    config ─► members ─► packs ─► their run directories ─► means, intervals, out-of-fold predictions

    members/0001 …     run directories, each as `fit` writes it
    packs/             state during training
    evaluation/        mean, standard deviation and interval of each metric over the members
    predictions/out_of_fold.parquet

Importing this module does not import TensorFlow; running it does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from trainer.config.dump import dump_config
from trainer.config.load import LoadedConfig
from trainer.config.members import Member, member_configs
from trainer.data.splits import SPLIT_NAMES
from trainer.errors import InputError, Problem, RunError, TrainingError, command_text, pluralize
from trainer.prediction.trained_runs import read_run_config
from trainer.report.page import import_matplotlib, write_page
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Intervals
from trainer.runs.explanations import AUGMENTED
from trainer.runs.lock import RunLock
from trainer.runs.manifest import TIME_LIMIT, Manifest, Resumption
from trainer.runs.process import this_process
from trainer.runs.run_record import RunRecord, record_errors
from trainer.workflows.events import (
    MemberEnded,
    MembersEvent,
    MembersFinished,
    MembersStarted,
    PackEpochEnded,
    PacksScheduled,
)
from trainer.workflows.explanations.heat_maps import explain_shown_images_of_members
from trainer.workflows.fit import no_epoch_problem
from trainer.workflows.packed.pack_schedule import PackSchedule, RunSpec
from trainer.workflows.packed.work_items import (
    ItemSettings,
    plan_work_items,
    run_in_process,
    run_within_limit,
    worker_threads,
)
from trainer.workflows.plan import RunPlan, TableCache, make_plan
from trainer.workflows.plans import manifest_of_plan
from trainer.workflows.reporting.findings import (
    Boosting,
    fold_parts,
    seconds_after_training,
    start_boosting,
    write_run_findings,
)
from trainer.workflows.reporting.members import aggregate_members
from trainer.workflows.resuming.checks import check_unchanged
from trainer.workflows.session import Session, TimeLimit

_ALL_DONE = "all members done"


def fit_members(
    loaded: LoadedConfig, session: Session, runs: Path
) -> Generator[MembersEvent, None, None]:
    """Train and evaluate the networks of a config with repeats or folds.

    Args:
        loaded: The config.
        session: The session of the calling command.
        runs: The folder of run directories.

    Raises:
        InputError: The config or data is invalid; no run directory is left behind.
        TrainingError: No network could be trained; the manifest records why.
    """
    start_time, now = perf_counter(), datetime.now(UTC)
    tables = TableCache()
    plan = _first_plan(loaded, tables)
    text = dump_config(loaded.config)
    mode = loaded.config.runs.permissions
    run = RunDirectory.create(runs, loaded.config.name, text, now, mode)
    with RunLock(run.lock):
        run.write_config(text)
        if loaded.text is not None:
            run.write_proposed_config(loaded.text)
        manifest = manifest_of_plan(plan, session.command, now)
        run.write_manifest(manifest)
        training = _MembersTraining(run, loaded, plan, tables, session, start_time)
        yield from training.train(manifest)


def resume_members(path: Path, session: Session) -> Generator[MembersEvent, None, None]:
    """Resume a run of several networks.

    Raises:
        RunError: The run has finished, another process writes it, or something has changed.
        TrainingError: See `fit_members`.
    """
    start_time, now = perf_counter(), datetime.now(UTC)
    run = RunDirectory(path)
    with RunLock(run.lock):
        manifest = run.read_manifest()
        if manifest.status == "finished" and not manifest.is_out_of_time:
            fix = f"extend one of its members: {command_text('resume', run.member(1), 'fit.epochs=+20')}"
            raise RunError(
                Problem(str(path), "a run with training left to do", "a finished run", fix)
            )
        loaded = read_run_config(run)
        tables = TableCache()
        plan = _first_plan(loaded, tables, started=True)
        check_unchanged(_specs(run, loaded), plan, session.command)
        resumption = Resumption(
            at=now, command=session.command, epoch=0, step=0, checkpoint="packs"
        )
        manifest = manifest.with_resumption(resumption, this_process())
        run.write_manifest(manifest)
        training = _MembersTraining(run, loaded, plan, tables, session, start_time)
        yield from training.train(manifest)


def _first_plan(loaded: LoadedConfig, tables: TableCache, *, started: bool = False) -> RunPlan:
    member = _member_config(loaded, member_configs(loaded.config)[0])
    return make_plan(member, tables, started=started)


def _member_config(loaded: LoadedConfig, member: Member) -> LoadedConfig:
    return replace(loaded, config=member.config)


def _specs(run: RunDirectory, loaded: LoadedConfig) -> list[RunSpec]:
    return [
        RunSpec(member.number, _member_config(loaded, member), run.member(member.number))
        for member in member_configs(loaded.config)
    ]


@dataclass(frozen=True, slots=True)
class _MembersTraining:
    """The training of all networks of a run.

    If it runs out of time, the networks that have completed an epoch are evaluated; it can be resumed.

    Attributes:
        run: The run directory.
        loaded: Its config.
        plan: The plan of the first network.
        tables: A cache of tables.
        session: The session of the calling command.
        start_time: Start of this process by `perf_counter`.
    """

    run: RunDirectory
    loaded: LoadedConfig
    plan: RunPlan
    tables: TableCache
    session: Session
    start_time: float

    def train(self, manifest: Manifest) -> Generator[MembersEvent, None, None]:
        """Train the networks that have not ended, and aggregate all of them."""
        run, fit = self.run, self.loaded.config.fit
        specs = _specs(run, self.loaded)
        record = RunRecord(run, manifest)
        with record_errors(record):
            run.packs.mkdir(exist_ok=True)
            yield MembersStarted(run.path, self.plan, len(specs), fit.repeats, fit.folds)
            limit = self.session.time_limit
            if limit is not None:
                limit = limit.with_reserve(
                    seconds_after_training(self.plan, limit, len(specs), fit.folds or 1)
                )
            boosting = self._start_boosting(specs)
            members, reason = yield from self._train_members(specs, limit, manifest)
            aggregates: Intervals = {}
            sentence = ""
            end_reason = reason or _ALL_DONE
            if reason is None:
                _check_some_finished(run, members, limit)
                if limit is not None and _is_incomplete(members, len(specs), limit):
                    end_reason = limit.reason
                    record.manifest = record.manifest.with_warnings(
                        *_untrained(members, len(specs))
                    )
                configs = member_configs(self.loaded.config)
                aggregates = aggregate_members(run, configs, members, self.plan)
                if self.plan.config.evaluate.report:
                    parts = fold_parts([spec.loaded for spec in specs], self.tables)
                    config = specs[0].loaded.config
                    sentence = write_run_findings(run, config, parts, limit, boosting)
                    self._explain_images()
                    _show_changed_images(run, self.plan)
            record.set_stop_reason(end_reason)
            epochs = max((member.epochs for member in members), default=0)
            record.manifest = replace(record.manifest, epochs=epochs)
            record.write_end("finished" if reason is None else "stopped")
        if sentence:
            # The page shows how the run ended, so it comes last.
            write_page(run, datetime.now(UTC))
        yield MembersFinished(
            run=run.path,
            status="finished" if reason is None else "stopped",
            stopped_because=end_reason,
            members=members,
            aggregates=aggregates,
            sentence=sentence,
            seconds=perf_counter() - self.start_time,
        )

    def _start_boosting(self, specs: Sequence[RunSpec]) -> Boosting:
        """Start the gradient boosting of the report, if it has any and all folds can be trained."""
        if not self.plan.config.evaluate.report:
            return None
        try:
            parts = fold_parts([spec.loaded for spec in specs], self.tables)
        except InputError:
            return None  # The schedule reports it.
        return start_boosting(specs[0].loaded.config, parts, self.session.time_limit)

    def _explain_images(self) -> None:
        """Write heat maps of some of the images that the report shows, if there are images."""
        if self.plan.dataset.preprocessing.image is not None:
            explain_shown_images_of_members(
                self.run,
                self.plan.dataset,
                device=self.loaded.config.runtime.device,
                allow_custom=self.session.allow_custom,
            )

    def _train_members(
        self, specs: Sequence[RunSpec], limit: TimeLimit | None, manifest: Manifest
    ) -> Generator[MembersEvent, None, tuple[tuple[MemberEnded, ...], str | None]]:
        """Train the networks that have not ended; return how all ended, and why training stopped."""
        spec_of = {spec.number: spec for spec in specs}
        settings = ItemSettings(
            self.session.command,
            SPLIT_NAMES,
            self.session.allow_custom,
            worker_threads(self.plan, len(specs), jobs=1),
        )
        packs = self.run.packs
        schedule, items, ended_before = plan_work_items(
            specs, packs, self.tables, settings, spec_of=spec_of.get
        )
        _check_initial_weights(manifest, schedule)
        yield PacksScheduled(schedule)
        ended = {member.number: member for member in ended_before}
        interrupted = self.session.interrupted
        working = (
            run_in_process(items, self.tables, interrupted)
            if limit is None
            else run_within_limit(items, self.tables, interrupted, limit)
        )
        while True:
            try:
                event = next(working)
            except StopIteration as stop:
                return tuple(ended[number] for number in sorted(ended)), stop.value
            if isinstance(event, MemberEnded):
                ended[event.number] = event
            elif isinstance(event, PackEpochEnded) and self.plan.config.evaluate.report:
                import_matplotlib()
            yield event


def _check_initial_weights(manifest: Manifest, schedule: PackSchedule) -> None:
    """Check that networks that have not started get the same initial weights as the others.

    Raises:
        RunError: The run of `fit.warm_start` has other weights now.
    """
    for member in (member for pack in schedule.packs for member in pack.members):
        start = member.plan.warm_start
        if start is not None and start.record not in manifest.initial_weights:
            expected = "the weights that the first networks of the run started from"
            fix = "restore it from a copy, or start a new run"
            raise RunError(Problem(start.record.path, expected, "others", fix, "fit.warm_start"))


def _show_changed_images(run: RunDirectory, plan: RunPlan) -> None:
    """Write examples of training images of the first network, if they are changed at random."""
    if not plan.has_changed_images:
        return
    from trainer.engine.augmented_examples import augmented_sheet
    from trainer.models.augment import build_augmentation

    augment = build_augmentation(plan.config, plan.random_crop)
    samples = plan.encoded_samples("train")
    if augment is not None and samples is not None:
        sheet = augmented_sheet(augment, samples, plan.config.fit.batch_size)
        run.write_explanation(AUGMENTED, sheet)


def _is_incomplete(ended: Sequence[MemberEnded], count: int, limit: TimeLimit) -> bool:
    """Return whether time ran out before all networks were trained."""
    return len(ended) < count or any(member.stopped_because == limit.reason for member in ended)


def _untrained(ended: Sequence[MemberEnded], count: int) -> Iterator[str]:
    """Yield a warning if some networks have no epoch."""
    trained = sum(member.status != "stopped" for member in ended)
    if trained < count:
        yield f"{TIME_LIMIT}: {trained} of {pluralize(count, 'network')} were trained"


def _check_some_finished(
    run: RunDirectory, ended: Sequence[MemberEnded], limit: TimeLimit | None
) -> None:
    """Check that a network was trained.

    Raises:
        TrainingError: All failed, or time ran out in the first epoch.
    """
    if any(member.status == "finished" for member in ended):
        return
    if limit is not None and not any(member.problems for member in ended):
        raise TrainingError(no_epoch_problem(run.path, limit))
    problems = [
        replace(problem, where=f"{member.run}: {problem.where}")
        for member in ended[:3]
        for problem in member.problems[:1]
    ]
    raise TrainingError(problems or [Problem(str(run.path), "a member that finishes", "none")])
