"""Track a run with MLflow: settings as parameters, metrics of each epoch, files and the model.

    experiment ─► run, the same one after a resume (tracking.json) ─► parameters, tags ─► epochs
        ─► evaluations, config.yaml, manifest.json, evaluation/, report.html, model/model.keras

Metrics cannot be deleted from MLflow. A process that resumes a run therefore looks up the last epoch in
the store and logs the later epochs of the run's log. An epoch that was trained twice has the same
values, and epochs that a killed process did not log are not lost.

Only `mlflow-skinny` is used: the full `mlflow` depends on pandas, scipy and scikit-learn, which Keras
imports at start-up if they are installed. Databases are accessed with SQLAlchemy and Alembic.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.tracking import MLflow
from trainer.runs.directory import RunDirectory
from trainer.runs.log import read_log
from trainer.tracking.hyperparameters import all_settings
from trainer.tracking.tracker import EpochLogs, RunEnd, RunStart

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # MLflow otherwise rejects file stores, which are in maintenance mode.
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
"""Defaults for MLflow's environment variables: two attempts of 10 seconds per request."""

_MAX_METRICS = 1000
_MAX_PARAMETERS = 100
"""Limits of MLflow per call."""
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_NOT_METRICS = {"epoch", "step", "learning_rate"}


class MlflowTracker:
    """Tracks a run with MLflow; nothing happens before `on_run_start`."""

    def __init__(self, settings: MLflow) -> None:
        self._settings = settings
        self._run: RunDirectory | None = None
        self._client: MlflowClient | None = None
        self._id = ""
        self._last_epoch = 0
        self._buffer: list[Any] = []

    def wants_weights(self, epoch: int) -> bool:
        return False

    def on_run_start(self, start: RunStart) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param, RunTag

        self._run = start.run
        self._client = MlflowClient(self._settings.uri)
        stored = self._stored_run()
        if stored is None:
            experiment = self._settings.experiment or start.config.name
            number = self._experiment(experiment)
            stored = self._client.create_run(number, run_name=_name(start.run))
        else:
            self._client.update_run(stored.info.run_id, status="RUNNING")
        self._id = stored.info.run_id
        start.run.write_tracking({"mlflow": {"uri": self._settings.uri, "run_id": self._id}})
        settings = {_key(name): str(value) for name, value in all_settings(start.config).items()}
        old = stored.data.params
        tags = _tags(start) | {
            # MLflow does not allow changing a parameter.
            f"trainer.changed.{name}": f"{old[name]} → {value}"
            for name, value in settings.items()
            if name in old and old[name] != value
        }
        new = [Param(name, value) for name, value in settings.items() if name not in old]
        for first in range(0, len(new), _MAX_PARAMETERS):
            self._client.log_batch(self._id, params=new[first : first + _MAX_PARAMETERS])
        self._client.log_batch(self._id, tags=[RunTag(*tag) for tag in tags.items()])
        if "loss" in stored.data.metrics:
            history = self._client.get_metric_history(self._id, "loss")
            self._last_epoch = max(point.step for point in history)
        for epoch in _logged(start.run, start.manifest.started.timestamp()):
            self.on_epoch_end(epoch)

    def on_epoch_end(self, epoch: EpochLogs) -> None:
        if epoch.number <= self._last_epoch:
            return
        self._last_epoch = epoch.number
        metrics = {**epoch.metrics, "learning_rate": epoch.learning_rate}
        # An epoch is logged in one call, so that any of its metrics shows the last epoch in the store.
        if len(self._buffer) + len(metrics) > _MAX_METRICS:
            self.flush()
        self._buffer += _metrics(metrics, epoch.number, epoch.at_seconds)

    def flush(self) -> None:
        """Send the buffered metrics."""
        if self._buffer:
            assert self._client is not None
            self._client.log_batch(self._id, metrics=self._buffer)
            self._buffer = []

    def on_run_end(self, end: RunEnd) -> None:
        from time import time

        assert self._client is not None
        assert self._run is not None
        self.flush()
        if end.metrics:
            self._client.log_batch(self._id, metrics=_metrics(end.metrics, end.epoch, time()))
        if end.weights_sha256 is not None:
            self._client.set_tag(self._id, "trainer.weights_sha256", end.weights_sha256)
        for path, folder in _files(self._run):
            self._client.log_artifact(self._id, str(path), folder)
        self._client.set_terminated(self._id, _STATUS[end.status])

    def close(self) -> None:
        """Do nothing: MLflow's client needs no closing."""

    def _stored_run(self) -> Any:
        """Return the run that `tracking.json` names; None if the store does not have it."""
        from mlflow.exceptions import MlflowException

        assert self._client is not None
        assert self._run is not None
        match self._run.read_tracking():
            case {"mlflow": {"uri": self._settings.uri, "run_id": str(number)}}:
                try:
                    run = self._client.get_run(number)
                except MlflowException as error:
                    if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                        raise
                    return None
                return run if run.info.lifecycle_stage == "active" else None
        return None

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        assert self._client is not None
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(name, _artifacts(self._settings.uri)))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                # Another run has just created it.
                experiment = self._client.get_experiment_by_name(name)
        assert experiment is not None
        return str(experiment.experiment_id)


def _artifacts(uri: str) -> str | None:
    """Return the artifact folder of a SQLite store: next to the database, not in the current folder."""
    scheme, separator, path = uri.partition(":///")
    if separator and scheme.partition("+")[0] == "sqlite":
        return str(Path(path.partition("?")[0]).parent / "mlartifacts")
    return None


def _name(run: RunDirectory) -> str:
    """Return the name of a run; a member or trial is prefixed with its run or sweep."""
    path = run.path.absolute()
    return f"{path.parent.parent.name}/{path.name}" if path.name.isdecimal() else path.name


def _key(name: str) -> str:
    """Return a setting's key with only the characters that MLflow accepts."""
    return re.sub(r"[^\w.\- /]", "_", name)[:250]


def _tags(start: RunStart) -> dict[str, str]:
    manifest = start.manifest
    tags = {
        "trainer.run": str(start.run.path.absolute()),
        "trainer.version": manifest.version,
        "mlflow.source.name": " ".join(manifest.command),
        "mlflow.source.type": "LOCAL",
    }
    if manifest.git is not None:
        tags["mlflow.source.git.commit"] = manifest.git.commit
        tags["trainer.git.dirty"] = str(manifest.git.dirty).lower()
    return tags


def _metrics(metrics: Mapping[str, float], step: int, at_seconds: float) -> list[Any]:
    from mlflow.entities import Metric

    milliseconds = int(1000 * at_seconds)
    return [Metric(name, value, milliseconds, step) for name, value in metrics.items()]


def _logged(run: RunDirectory, start_time: float) -> Iterator[EpochLogs]:
    """Yield the epochs of the run's log, all timed at `start_time`: the log has no end times."""
    for line in read_log(run.metrics) if run.metrics.exists() else ():
        metrics = {
            name: float("nan") if value is None else float(value)
            for name, value in line.items()
            if name not in _NOT_METRICS
        }
        yield EpochLogs(line["epoch"], line["learning_rate"], metrics, start_time)


def _files(run: RunDirectory) -> Iterable[tuple[Path, str | None]]:
    """Return the files to log as artifacts, each with its artifact folder."""
    files: list[tuple[Path, str | None]] = [(run.config, None), (run.manifest, None)]
    if run.evaluation.is_dir():
        paths = sorted(path for path in run.evaluation.iterdir() if path.name[0] != ".")
        files += [(path, "evaluation") for path in paths]
    files += [(path, None) for path in (run.decisions, run.findings, run.report)]
    files.append((run.best / "model.keras", "model"))
    return [(path, folder) for path, folder in files if path.is_file()]
