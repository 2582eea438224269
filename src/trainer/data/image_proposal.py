"""Propose a config for a folder of images: the output of `trainer init FOLDER`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trainer.config.data import Data, NamedSources
from trainer.config.images import FOLDER_LABEL, FOLDER_PATH, Image
from trainer.config.template import counts_text
from trainer.config.yaml_writer import flow_text, scalar_text
from trainer.data.image_decoding import ImageHeader
from trainer.data.image_folders import split_folders
from trainer.data.image_sample import HeaderSample, sample_headers
from trainer.data.opening import open_table
from trainer.data.proposals import ConfigFile, Proposal
from trainer.data.recipes import Effort
from trainer.data.spellings import natural_sort
from trainer.data.table_inspection import TableFindings
from trainer.data.tables import Table
from trainer.data.tasks import task_of_classes
from trainer.errors import DataError, Problem, pluralize
from trainer.packages import install_command

_SIDES = (32, 48, 64, 96, 128, 160)
# Doubling the side quadruples the time. If all images have the same size, up to this, they are not
# resized.
_MAX_SIDE: Mapping[Effort, int] = {"quick": 48, "balanced": 96, "best": 160}
_QUICK_EPOCHS = 3
_SMALLEST_MAP = 8
_FILTERS = (32, 64, 128, 256)
# Minimum number of training images, batch size, epochs, patience.
_TRAINING = ((0, 16, 60, 12), (2_000, 32, 40, 8), (20_000, 64, 30, 5), (200_000, 128, 15, 3))
_MIN_IMAGES = 20


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The names of the images in a folder.

    Attributes:
        source: `data.source` of a config: a path, or one for each split.
        table: The path and the label of each image.
        classes: Class → its number of images.
    """

    source: str | Mapping[str, str]
    table: Table
    classes: Mapping[str, int]

    def source_line(self) -> str:
        """Return `data.source` of a config, with the number of images."""
        text = (
            scalar_text(self.source)
            if isinstance(self.source, str)
            else flow_text(dict(self.source))
        )
        if not self.classes:
            return f"  source: {text}  # {pluralize(self.table.frame.height, 'image')}"
        count = pluralize(sum(self.classes.values()), "image")
        return f"  source: {text}  # {count}: {counts_text(self.classes)}"


def propose_image_config(folder: Path, file: ConfigFile, effort: Effort) -> Proposal:
    """Inspect the names of the images in a folder and the headers of some, and propose a config.

    Args:
        folder: A folder with a subfolder for each class, or for each split.
        file: The file of the config.
        effort: The training effort, which determines the image size and the number of epochs.

    Raises:
        DataError: There are no images, or only one class; or Pillow is not installed.
    """
    images = read_image_folder(folder, file.source)
    table, classes = images.table, images.classes
    if len(classes) < 2:
        found = pluralize(len(classes), "class") + (f", '{next(iter(classes))}'" if classes else "")
        fix = "put the images of each class in a separate subfolder"
        raise DataError(
            Problem(str(folder), "a subfolder for each of two or more classes", found, fix)
        )
    sample, broken = read_headers(table.frame[FOLDER_PATH])
    findings = TableFindings(
        files=table.files,
        rows=sum(classes.values()),
        target=(FOLDER_LABEL,),
        task=task_of_classes(len(classes)),
        reason=f"{len(classes)} subfolders",
        classes=dict(classes),
        number_formats={},
        order=None,
        duplicates=0,
        columns=(),
        warnings=(*table.warnings, *broken),
    )
    image, side = image_settings(sample.headers, _MAX_SIDE[effort])
    findings = replace(findings, images=images_text(sample, image, findings.rows))
    lines = _lines(findings, images, (image, side), file, effort)
    return Proposal("\n".join(lines) + "\n", findings)


def read_image_folder(folder: Path, path: str) -> ImageFolder:
    """Read the names of the images in a folder.

    Args:
        folder: A folder of images, with subfolders for classes or splits.
        path: Its path in the config.

    Raises:
        DataError: There are no images; or Pillow is not installed.
    """
    if find_spec("PIL") is None:
        found, fix = "no such package", install_command("images")
        raise DataError(Problem("trainer init", "Pillow, which reads images", found, fix))
    splits = split_folders(folder)
    source: str | dict[str, str] = path
    data_source: str | NamedSources = str(folder)
    if splits:
        source = {name: os.path.join(path, inner) for name, inner in splits.items()}  # noqa: PTH118
        data_source = NamedSources(**{name: str(folder / inner) for name, inner in splits.items()})
    table = open_table(Data(source=data_source, target=FOLDER_LABEL), streamed=False).header
    counts = Counter(table.frame[FOLDER_LABEL].drop_nulls().to_list())
    classes = {name: counts[name] for name in natural_sort(list(counts))}
    return ImageFolder(source, table, classes)


def read_headers(paths: pl.Series) -> tuple[HeaderSample, list[str]]:
    """Return the headers of some images, and a warning if others cannot be read."""
    sample = sample_headers(paths)
    broken = [f"{path} ({reason})" for path, reason in sample.broken]
    if not sample.headers:
        problem = Problem(str(paths[0]), "an image", f"none in {sample.files} files, {broken[0]}")
        raise DataError(problem)
    shown = ", ".join(broken[:3])
    line = f"{len(broken)} of {sample.files} files are broken: {shown}; see data.image.broken"
    return sample, [line] if broken else []


def image_settings(headers: Sequence[ImageHeader], max_side: int) -> tuple[dict[str, Any], int]:
    """Return `data.image`, and the length of the shorter side of the input, at most `max_side`."""
    sizes = {(header.height, header.width) for header in headers}
    color = {} if any(header.has_color for header in headers) else {"color": "grey"}
    height, width = next(iter(sizes))
    if len(sizes) == 1 and max(height, width) <= max_side:
        return {"size": height if height == width else [height, width], **color}, min(height, width)
    shorter = float(np.median([min(header.height, header.width) for header in headers]))
    sides = [side for side in _SIDES if side <= min(shorter, max_side)]
    side = max(sides, default=_SIDES[0])
    if all(height == width for height, width in sizes):
        return {"size": side, **color}, side
    return {"resize": side * 9 // 8, "crop": side, **color}, side


def _layers(side: int, is_small: bool) -> list[str]:
    """Return the layers: convolutions and pooling, until the feature map is small."""
    lines = []
    for filters in _FILTERS:
        lines += [
            f"- conv2d: {{filters: {filters}, kernel_size: 3, padding: same, use_bias: false}}",
            # With Keras's default of 0.99, the averages lag behind the weights for hundreds of
            # steps.
            "- batch_normalization: {momentum: 0.9}",
            "- activation: relu",
        ]
        if side < 2 * _SMALLEST_MAP:
            break
        lines.append("- max_pool2d: 2")
        side //= 2
    return [*lines, "- global_average_pool", f"- dropout: {0.3 if is_small else 0.1}"]


def _lines(
    findings: TableFindings,
    images: ImageFolder,
    image_and_side: tuple[dict[str, Any], int],
    file: ConfigFile,
    effort: Effort,
) -> list[str]:
    rows, source, (image, side) = findings.rows, images.source, image_and_side
    batch_size, epochs, patience = [size[1:] for size in _TRAINING if rows >= size[0]][-1]
    if effort == "quick":
        epochs //= _QUICK_EPOCHS
    has_validation = not isinstance(source, str) and "validation" in source
    test = 0.2 if rows >= _MIN_IMAGES else 0.0
    split = [] if not isinstance(source, str) else [f"test: {test}"]
    split += [] if has_validation else ["validation: 0.2"]
    return [
        "# Predicts the class of images, the subfolder that they are in.",
        "#",
        f"#   {file.command('check')}    show what would be read, split and built",
        f"#   {file.command('fit')}      train, evaluate, write a run directory",
        "#",
        "# All settings and their defaults: trainer schema --markdown",
        *file.name_lines(),
        "data:",
        images.source_line(),
        f"  image: {flow_text(image)}  # found {findings.images}",
        *([f"  split: {{{', '.join(split)}}}"] if split else []),
        "model:",
        "  layers:",
        *(f"    {line}" for line in _layers(side, rows < _TRAINING[1][0])),
        "optimizer: {name: adamw, weight_decay: 0.01, schedule: cosine}",
        "fit:",
        f"  epochs: {epochs}",
        f"  batch_size: {batch_size}",
        f"  early_stopping: {{monitor: val_loss, patience: {patience}}}",
        "evaluate:",
        "  calibrate: true  # temperature scaling, fitted on validation images",
    ]


def images_text(sample: HeaderSample, settings: dict[str, Any], rows: int) -> str:
    """Return what is known of the sizes and the memory of images."""
    height, width, channels = Image.model_validate(settings).shape
    size = rows * height * width * channels
    return f"{sample.size_text()}; {size / 1e6:,.1f} MB when decoded to {width} × {height} × {channels}"
