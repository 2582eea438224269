"""`explanation/images.json`: small images of the rows that the report shows."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from trainer.errors import Problem, RunError
from trainer.runs.directory import RunDirectory
from trainer.runs.files import json_bytes
from trainer.runs.records import optional_field, read_record, to_json

NAME = "images.json"
_FIX = "delete it: the report then shows no images"


@dataclass(frozen=True, slots=True)
class ShownImage:
    """The image of a row.

    Attributes:
        row: Row number in the data source, from 0.
        path: The file.
        thumbnail: A PNG or JPEG file in Base64.
    """

    row: int
    path: str
    thumbnail: str

    @property
    def content(self) -> bytes:
        """The thumbnail as a PNG or JPEG file."""
        return base64.b64decode(self.thumbnail)


@dataclass(frozen=True, slots=True)
class ImagesFile:
    """`images.json`.

    Attributes:
        split: The split of the rows.
        images: The images.
        explained: The rows with heat maps.
    """

    split: str
    images: tuple[ShownImage, ...]
    explained: tuple[int, ...] = optional_field(())


def write_images(run: RunDirectory, images: ImagesFile) -> None:
    """Write `images.json`.

    Raises:
        StorageError: The file cannot be written.
    """
    run.write_explanation(NAME, json_bytes(to_json(images)))


def read_images(run: RunDirectory) -> ImagesFile | None:
    """Read `images.json`; None if there is none.

    Raises:
        RunError: The file is damaged.
    """
    path = run.explanation / NAME
    images = read_record(path, ImagesFile, _FIX)
    for image in () if images is None else images.images:
        try:
            base64.b64decode(image.thumbnail, validate=True)
        except ValueError as error:
            expected, found = "Base64 in 'thumbnail'", f"other text for row {image.row:,}"
            raise RunError(Problem(str(path), expected, found, _FIX)) from error
    return images
