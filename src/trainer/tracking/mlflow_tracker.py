"""One run of an MLflow store: settings as parameters, measures of each epoch, files and the model.

    experiment ─► run, the same one after a resume (tracking.json) ─► parameters, tags ─► epochs
        ─► evaluations, config.yaml, manifest.json, evaluation/, report.html, model/model.keras

Measures cannot be taken back in MLflow. A process that goes on with a run asks which epoch the store has
last, and tells those of the run's log that come after it: an epoch that was trained twice has the same
values, and one that a killed process did not get to tell of is not missing.

Everything goes through `mlflow-skinny`: the whole `mlflow` brings pandas, scipy and scikit-learn, each
of which Keras imports at its start where it finds it. A database is reached with SQLAlchemy and Alembic.

Owns: what is told to MLflow, and its settings in the environment. Does not own: the thread it is told
from (`background`), which settings (`hyperparameters`).
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
    # What is run is nobody's business but the store's.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # Folders are refused otherwise: they will get no new features.
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
"""What MLflow finds in the environment, unless it is set: a server has 10 seconds, twice."""

_MOST_METRICS = 1000
_MOST_PARAMETERS = 100
"""What MLflow takes in one call."""
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_NOT_MEASURED = {"epoch", "step", "learning_rate"}


class MlflowTracker:
    """A run of an MLflow store; nothing happens before `started`."""

    def __init__(self, settings: MLflow) -> None:
        self._settings = settings
        self._run: RunDirectory | None = None
        self._client: MlflowClient | None = None
        self._id = ""
        self._told = 0
        self._gathered: list[Any] = []

    def wants_weights(self, epoch: int) -> bool:
        """As in `Tracker`."""
        return False

    def started(self, start: RunStart) -> None:
        """As in `Tracker`."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param, RunTag

        self._run = start.run
        self._client = MlflowClient(self._settings.uri)
        known = self._known()
        if known is None:
            experiment = self._settings.experiment or start.config.name
            known = self._client.create_run(self._experiment(experiment), run_name=_name(start.run))
        else:
            self._client.update_run(known.info.run_id, status="RUNNING")
        self._id = known.info.run_id
        start.run.write_tracking({"mlflow": {"uri": self._settings.uri, "run_id": self._id}})
        settings = {_key(name): str(value) for name, value in all_settings(start.config).items()}
        had = known.data.params
        tags = _tags(start) | {
            # A parameter cannot be changed in MLflow.
            f"trainer.changed.{name}": f"{had[name]} → {value}"
            for name, value in settings.items()
            if name in had and had[name] != value
        }
        new = [Param(name, value) for name, value in settings.items() if name not in had]
        for place in range(0, len(new), _MOST_PARAMETERS):
            self._client.log_batch(self._id, params=new[place : place + _MOST_PARAMETERS])
        self._client.log_batch(self._id, tags=[RunTag(*tag) for tag in tags.items()])
        if "loss" in known.data.metrics:
            history = self._client.get_metric_history(self._id, "loss")
            self._told = max(point.step for point in history)
        for epoch in _logged(start.run, start.manifest.started.timestamp()):
            self.epoch(epoch)

    def epoch(self, epoch: EpochLogs) -> None:
        """As in `Tracker`."""
        if epoch.number <= self._told:
            return
        self._told = epoch.number
        measures = {**epoch.measures, "learning_rate": epoch.learning_rate}
        # All of an epoch in one call: which epoch the store has last is read off one of them.
        if len(self._gathered) + len(measures) > _MOST_METRICS:
            self.flush()
        self._gathered += _metrics(measures, epoch.number, epoch.at_seconds)

    def flush(self) -> None:
        """Send what is gathered."""
        if self._gathered:
            assert self._client is not None
            self._client.log_batch(self._id, metrics=self._gathered)
            self._gathered = []

    def finished(self, end: RunEnd) -> None:
        """As in `Tracker`."""
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
        """As in `Tracker`."""

    def _known(self) -> Any:
        """The run that `tracking.json` names, if the store has it."""
        from mlflow.exceptions import MlflowException

        assert self._client is not None
        assert self._run is not None
        match self._run.read_tracking():
            case {"mlflow": {"uri": self._settings.uri, "run_id": str(number)}}:
                try:
                    found = self._client.get_run(number)
                except MlflowException as wrong:
                    if wrong.error_code != "RESOURCE_DOES_NOT_EXIST":
                        raise
                    return None
                return found if found.info.lifecycle_stage == "active" else None
        return None

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        assert self._client is not None
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, _artifacts(self._settings.uri)))
            except MlflowException as wrong:
                if wrong.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                # Another run was quicker.
                found = self._client.get_experiment_by_name(name)
        assert found is not None
        return str(found.experiment_id)


def _artifacts(uri: str) -> str | None:
    """Where the files of an experiment are kept: beside the database, not in the working directory."""
    scheme, separator, place = uri.partition(":///")
    if separator and scheme.partition("+")[0] == "sqlite":
        return str(Path(place.partition("?")[0]).parent / "mlartifacts")
    return None


def _name(run: RunDirectory) -> str:
    """A run's own name; of one of several, with the name of the whole."""
    own = run.path.absolute()
    return f"{own.parent.parent.name}/{own.name}" if own.name.isdecimal() else own.name


def _key(name: str) -> str:
    """A setting's key in the letters that MLflow takes."""
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


def _metrics(measures: Mapping[str, float], step: int, at_seconds: float) -> list[Any]:
    from mlflow.entities import Metric

    at = int(1000 * at_seconds)
    return [Metric(name, value, at, step) for name, value in measures.items()]


def _logged(run: RunDirectory, began: float) -> Iterator[EpochLogs]:
    """The epochs of the run's log; when they ended is known of those of this process alone."""
    for line in read_log(run.metrics) if run.metrics.exists() else ():
        measures = {
            name: float("nan") if value is None else float(value)
            for name, value in line.items()
            if name not in _NOT_MEASURED
        }
        yield EpochLogs(line["epoch"], line["learning_rate"], measures, began)


def _files(run: RunDirectory) -> Iterable[tuple[Path, str | None]]:
    """The files that are kept in the store, and the folder of each there."""
    found: list[tuple[Path, str | None]] = [(run.config, None), (run.manifest, None)]
    if run.evaluation.is_dir():
        files = sorted(path for path in run.evaluation.iterdir() if path.name[0] != ".")
        found += [(path, "evaluation") for path in files if path.is_file()]
    found += [(path, None) for path in (run.decisions, run.findings, run.report)]
    found.append((run.best / "model.keras", "model"))
    return [(path, folder) for path, folder in found if path.is_file()]
