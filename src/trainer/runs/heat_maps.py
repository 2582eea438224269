"""Heat maps of images in `explanation/`: `heat_maps.json`, `heat_maps.npz`, `heat_map_0001.jpg`, …"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.runs.directory import RunDirectory
from trainer.runs.files import json_bytes, storage_errors
from trainer.runs.records import optional_field, read_record, to_json

RECORD, ARRAYS = "heat_maps.json", "heat_maps.npz"
_FIX = "write it again with `trainer explain`"


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The heat maps of one image.

    Attributes:
        row: Row number in the data source, from 0.
        path: The file.
        name: The class, label or column whose score is explained.
        score: Its probability, or the predicted number.
        actual: The target; None for rows without one.
    """

    row: int
    path: str
    name: str
    score: float | None
    actual: str | None


@dataclass(frozen=True, slots=True)
class HeatMapsFile:
    """`heat_maps.json`.

    Attributes:
        source: The split or the file of the rows.
        has_class_activation: Whether the network has feature maps, and so class activation maps.
        images: The images; the picture of the first is `heat_map_0001.jpg`.
    """

    source: str
    has_class_activation: bool
    images: tuple[HeatMap, ...] = optional_field(())


def picture_name(index: int) -> str:
    """Return the name of the picture of an image, counted from 0."""
    return f"heat_map_{index + 1:04d}.jpg"


def write_heat_maps(
    run: RunDirectory, record: HeatMapsFile, pictures: Sequence[bytes], arrays: bytes
) -> tuple[str, ...]:
    """Write the files and remove pictures of earlier ones.

    Args:
        run: The run directory.
        record: What the pictures show.
        pictures: A JPEG file for each image.
        arrays: An NPZ file with the maps.

    Returns:
        The names of the files.

    Raises:
        StorageError: A file cannot be written.
    """
    names = [picture_name(index) for index in range(len(pictures))]
    for name, content in zip(names, pictures, strict=True):
        run.write_explanation(name, content)
    run.write_explanation(ARRAYS, arrays)
    run.write_explanation(RECORD, json_bytes(to_json(record)))
    with storage_errors(run.explanation, "remove earlier heat maps"):
        for path in run.explanation.glob("heat_map_*.jpg"):
            if path.name not in names:
                path.unlink(missing_ok=True)
    return (RECORD, ARRAYS, *names)


def read_heat_maps(run: RunDirectory) -> HeatMapsFile | None:
    """Read `heat_maps.json`; None if there is none.

    Raises:
        RunError: The file is damaged.
    """
    return read_record(run.explanation / RECORD, HeatMapsFile, _FIX)
