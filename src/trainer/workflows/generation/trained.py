"""A trained generator: new samples, and its measures on the splits of its run.

Importing this module does not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from trainer.config.load import LoadedConfig
from trainer.data.arrays import Float32Array
from trainer.data.generated_columns import GeneratedRows, rows_from_json
from trainer.data.generated_samples import (
    Draw,
    draw_samples,
    png_bytes,
    sample_table,
    sampled_images,
)
from trainer.data.generation import GenerationData, prepare_generation
from trainer.data.splits import SplitName
from trainer.data.table_writer import write_table
from trainer.engine import devices
from trainer.errors import DataError, Problem, RunError, UsageError, did_you_mean
from trainer.inputs import Inputs, count_rows
from trainer.models.generation_summary import GenerationShape
from trainer.prediction.trained_runs import check_complete, open_checkpoint, read_run_config
from trainer.runs.checkpoints import read_checkpoint
from trainer.runs.directory import RunDirectory
from trainer.runs.files import storage_errors, write_atomically
from trainer.workflows.generation.measures import Generate, SampleMeasures

_BATCH = 1_024
_TABLES = (".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class TrainedGenerator:
    """The generator of a run, which has not been built.

    Attributes:
        run: The run directory.
        checkpoint: The name of the checkpoint, "best" or "last".
        loaded: The config of the run.
        rows: What it generates.
    """

    run: RunDirectory
    checkpoint: str
    loaded: LoadedConfig
    rows: GeneratedRows

    @property
    def shape(self) -> GenerationShape:
        """What its network depends on besides its layers."""
        latent = self.loaded.config.generation.latent
        return GenerationShape(latent, self.rows.conditions, self.rows.spec)


def open_generator(path: Path) -> TrainedGenerator:
    """Open the generator of the run at `path`, or of a checkpoint of a run (default: the best).

    Raises:
        RunError: The run or the checkpoint does not exist, or files are damaged.
    """
    run, checkpoint = open_checkpoint(path)
    try:
        rows = rows_from_json(run.read_preprocessing())
    except ValidationError as error:
        where = str(run.preprocessing)
        found = f"{error.error_count()} errors"
        fix = "restore the file from a copy of the run"
        raise RunError(Problem(where, "the encoding of generated rows", found, fix)) from error
    loaded = read_run_config(run)
    check_complete(run, loaded)
    return TrainedGenerator(run, checkpoint, loaded, rows)


def load_generator(
    opened: TrainedGenerator, device: Literal["auto", "cpu", "gpu"] = "auto"
) -> Generate:
    """Load the network, and return the function that computes its values (rows, values).

    Raises:
        RunError: The checkpoint is damaged or belongs to another network.
        ConfigError: The device does not exist.
    """
    devices.start(device, devices.usable_cores())
    import tensorflow as tf

    from trainer.models.adversarial_networks import build_generator

    networks = opened.loaded.config.networks
    assert networks is not None, "a run of task: generate has networks"
    checkpoint = read_checkpoint(opened.run.checkpoint(opened.checkpoint))
    network = build_generator(networks, opened.shape, opened.loaded.config.seed)
    try:
        network.load_weights(checkpoint.model)
    except (ValueError, KeyError, OSError) as error:
        found = str(error).splitlines()[0]
        expected = "the weights of the generator in config.yaml"
        fix = "use config.yaml and checkpoint of the same run"
        raise RunError(Problem(str(checkpoint.model), expected, found, fix)) from error
    program = tf.function(lambda inputs: network(inputs, training=False), autograph=False)

    def generate(inputs: Inputs) -> Float32Array:
        parts = []
        for start in range(0, count_rows(inputs), _BATCH):
            values = [tf.constant(array[start : start + _BATCH]) for array in inputs.values()]
            output = program(values[0] if len(values) == 1 else values)
            parts.append(np.asarray(output).reshape(len(values[0]), -1))
        return np.concatenate(parts)

    return generate


# New samples ------------------------------------------------------------------------------------


def draw_for(opened: TrainedGenerator, count: int, seed: int, class_name: str | None) -> Draw:
    """Draw the random numbers of new samples.

    Args:
        opened: The generator.
        count: Number of samples.
        seed: The seed.
        class_name: The class of all samples; None for classes as frequent as in the training rows.

    Raises:
        UsageError: There is no such class, or the generator is not given classes.
    """
    rows, only = opened.rows, None
    if class_name is not None:
        if not rows.condition:
            expected = "a run with generation.condition: true, which can generate a class"
            raise UsageError(Problem("--class", expected, str(opened.run.path), "remove --class"))
        if class_name not in rows.classes:
            listed = ", ".join(rows.classes[:20])
            fix = did_you_mean(class_name, rows.classes, "choose one of them")
            raise UsageError(Problem("--class", f"a class ({listed})", f"'{class_name}'", fix))
        only = rows.classes.index(class_name)
    latent = opened.loaded.config.generation.latent
    return draw_samples(rows, latent, count, seed, only)


def check_sample_output(opened: TrainedGenerator, out: Path) -> None:
    """Check the output path of samples before doing any work.

    Raises:
        UsageError: It cannot be used.
    """
    is_table = out.suffix in _TABLES
    images = opened.rows.images
    if not is_table and images is None:
        fix = f"for example -o {out.name or 'rows'}.csv"
        raise UsageError(Problem("--output", "a name ending in .csv or .parquet", f"'{out}'", fix))
    if is_table and images is not None and not images.pixels:
        expected = "a folder for the images"
        raise UsageError(Problem("--output", expected, f"'{out}'", "remove the extension"))
    if not out.absolute().parent.is_dir():
        raise UsageError(
            Problem("--output", "a path in an existing directory", f"no directory {out.parent}")
        )
    if is_table and out.is_dir():
        raise UsageError(Problem("--output", "a file", f"the directory {out}", "add a file name"))
    if not is_table and out.exists() and (not out.is_dir() or any(out.iterdir())):
        found = f"'{out}', which has files" if out.is_dir() else f"the file {out}"
        fix = "choose another folder"
        raise UsageError(Problem("--output", "a new or empty folder", found, fix))


def write_samples(opened: TrainedGenerator, values: Float32Array, draw: Draw, out: Path) -> int:
    """Write samples: a table, or a folder of PNG files with a subfolder for each class that was given.

    Returns:
        The number of samples.

    Raises:
        StorageError: They cannot be written.
    """
    if out.suffix in _TABLES:
        count, _ = write_table([sample_table(opened.rows, values, draw)], out)
        return count
    images = sampled_images(opened.rows, values)
    with storage_errors(out, "make this directory"):
        out.mkdir(exist_ok=True)
    digits = max(4, len(str(len(images))))
    for number, (image, folder) in enumerate(zip(images, _folders(opened, draw), strict=True), 1):
        path = out / folder if folder else out
        with storage_errors(path, "make this directory"):
            path.mkdir(exist_ok=True)
        write_atomically(path / f"{number:0{digits}d}.png", png_bytes(image))
    return len(images)


def _folders(opened: TrainedGenerator, draw: Draw) -> Iterator[str]:
    """Yield the subfolder of each image: its class, in a form that is a file name; "" for none."""
    for code in draw.classes:
        if code < 0:
            yield ""
            continue
        name = opened.rows.classes[code].replace("/", "_").replace("\0", "_")
        yield name if name not in ("", ".", "..") else f"class_{code}"


def samples_csv(opened: TrainedGenerator, values: Float32Array, draw: Draw) -> str:
    """Return samples as CSV text.

    Raises:
        UsageError: They are images of files.
    """
    images = opened.rows.images
    if images is not None and not images.pixels:
        expected = "a folder for the images"
        raise UsageError(Problem("--output", expected, "- for stdout", "write -o samples"))
    return sample_table(opened.rows, values, draw).write_csv()


# Evaluation -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SplitMeasures:
    """The measures of samples compared with a split: its name, number of rows, and the values."""

    split: SplitName
    rows: int
    metrics: Mapping[str, float]


def evaluate_generator(
    opened: TrainedGenerator,
    splits: Sequence[SplitName],
    device: Literal["auto", "cpu", "gpu"] = "auto",
) -> list[SplitMeasures]:
    """Measure samples of a run against its splits.

    Raises:
        DataError: The files are missing or have changed, or no split has rows.
        RunError: The run is damaged.
    """
    dataset = recorded_data(opened)
    used = [split for split in splits if dataset.rows(split)]
    if not used:
        found = "none in " + ", ".join(splits)
        raise DataError(Problem(str(opened.run.path), "rows to compare with", found))
    measures = SampleMeasures(opened.loaded.config, dataset, load_generator(opened, device))
    return [SplitMeasures(split, dataset.rows(split), measures.metrics(split)) for split in used]


def recorded_data(opened: TrainedGenerator) -> GenerationData:
    """Return the rows of a run, which must not have changed."""
    dataset = prepare_generation(opened.loaded.config)
    recorded = {file.path: file.sha256 for file in opened.run.read_manifest().data}
    changed = [file.path for file in dataset.table.files if recorded.get(file.path) != file.sha256]
    if changed or dataset.preprocessing != opened.rows:
        where = changed[0] if changed else dataset.table.name
        fix = "restore the original file"
        raise DataError(Problem(where, "the data of the run", "different content", fix))
    return dataset
