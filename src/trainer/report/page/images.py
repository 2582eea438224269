"""Images: contact sheets of mistakes and correct predictions, examples for the confusion matrix, and
heat maps of where the network looked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trainer.assessment.image_examples import (
    ImageExamples,
    choose_image_examples,
    predicted_probabilities,
)
from trainer.config.task_rules import TASK_RULES
from trainer.errors import RunError
from trainer.metrics.labels import class_indices, predicted_labels
from trainer.metrics.predictions import Predictions
from trainer.report.page.content import Block, Gallery, Paragraph, Picture, Section, section
from trainer.report.page.run_content import RunContent
from trainer.report.text import number, short_name
from trainer.runs.explanations import AUGMENTED
from trainer.runs.files import read_bytes
from trainer.runs.heat_maps import picture_name
from trainer.runs.images import ShownImage

_NAME_LENGTH = 24
_MAX_LABELS = 4
_MAX_HEAT_MAPS, _MAX_BYTES, _MAX_FILE_BYTES = 24, 600_000, 1_000_000


def images_section(content: RunContent) -> Section:
    """Make the section with contact sheets of mistakes and correct predictions."""
    return section("images", "Images", _images(content))


def confusion_pictures(
    content: RunContent, predictions: Predictions
) -> Mapping[tuple[int, int], tuple[Picture, ...]]:
    """Return examples of each pair of an actual and a predicted class; empty without images."""
    sheet = _Sheet.of(content, predictions)
    if sheet is None:
        return {}
    return {
        pair: sheet.pictures(positions, with_captions=False)
        for pair, positions in sheet.examples.confusions.items()
    }


def _images(content: RunContent) -> Iterator[Block]:
    yield from _contact_sheets(content)
    yield from _heat_maps(content)
    yield from _changed_images(content)


def _changed_images(content: RunContent) -> Iterator[Block]:
    """Yield the sheet of training images that were changed at random."""
    try:
        file = read_bytes(content.run.explanation / AUGMENTED, _MAX_FILE_BYTES)
    except RunError:
        return
    description = "each row is an image as it is, then as it was changed in epochs 1, 2, …"
    title = "Random changes of training images"
    yield Gallery(title, (Picture(file, f"{title}: {description}", description),), is_wide=True)


def _contact_sheets(content: RunContent) -> Iterator[Block]:
    if content.split is None or content.rules is None:
        return
    sheet = _Sheet.of(content, content.predictions[content.split])
    if sheet is None:
        return
    rows, examples = f"{content.split} rows", sheet.examples
    if content.rules.has_numbers:
        yield Gallery(f"Largest errors, {rows}", sheet.pictures(examples.mistakes))
        yield Gallery(f"Other predictions, {rows}", sheet.pictures(examples.correct))
        return
    worst = "Most confident mistakes" if content.rules.is_exclusive else "Worst predictions"
    yield Gallery(f"{worst}, {rows}", sheet.pictures(examples.mistakes))
    yield Gallery(f"Other wrong predictions, {rows}", sheet.pictures(examples.wrong))
    yield Gallery(f"Correct predictions, {rows}", sheet.pictures(examples.correct))


def _heat_maps(content: RunContent) -> Iterator[Block]:
    """Yield the pictures of the first images that `heat_maps.json` lists."""
    record = content.heat_maps
    if record is None or not record.images:
        return
    pictures, size = [], 0
    for index, image in enumerate(record.images[:_MAX_HEAT_MAPS]):
        try:
            file = read_bytes(content.run.explanation / picture_name(index), _MAX_FILE_BYTES)
        except RunError as error:
            yield Paragraph(f"Damaged file: {error.problems[0]}", "warning")
            return
        size += len(file)
        if size > _MAX_BYTES:
            break
        actual = (
            "" if image.actual in (None, image.name) else f", actual {_short(image.actual or '')}"
        )
        text = f"{_short(image.name)} {number(image.score)}{actual}"
        pictures.append(Picture(file, f"{image.path}: where the network looked, {text}", text))
    kinds = "the parts that lower it when they are covered (occlusion)"
    panels = "Occlusion"
    if record.has_class_activation:
        kinds = f"where the last convolution responds to it (Grad-CAM), and {kinds}"
        panels = "Grad-CAM and occlusion"
    has_numbers = content.rules is not None and content.rules.has_numbers
    score = "predicted number" if has_numbers else "probability"
    more = ""
    if len(pictures) < len(record.images):
        more = f", {len(pictures)} of {len(record.images):,} images in explanation/"
    yield Paragraph(f"Light colors show what the {score} depends on: {kinds}.")
    yield Gallery(
        f"Where the network looked: {panels}, {record.source}{more}", tuple(pictures), is_wide=True
    )


class _Sheet:
    """Pictures of rows with their predictions."""

    def __init__(
        self,
        images: Mapping[int, ShownImage],
        predictions: Predictions,
        examples: ImageExamples,
        threshold: float,
    ) -> None:
        self.examples = examples
        self._images = images
        self._predictions = predictions
        self._threshold = threshold

    @staticmethod
    def of(content: RunContent, predictions: Predictions) -> _Sheet | None:
        """Return the pictures of a run; None without images."""
        if not content.images:
            return None
        examples = choose_image_examples(predictions, content.threshold)
        return _Sheet(content.images, predictions, examples, content.threshold)

    def pictures(
        self, positions: Sequence[int], *, with_captions: bool = True
    ) -> tuple[Picture, ...]:
        """Return the pictures of rows that have images."""
        numbers = [int(row) for row in self._predictions.rows[list(positions)]]
        return tuple(
            self._picture(self._images[row], position, with_caption=with_captions)
            for position, row in zip(positions, numbers, strict=True)
            if row in self._images
        )

    def _picture(self, image: ShownImage, position: int, *, with_caption: bool) -> Picture:
        text = prediction_text(self._predictions, position, self._threshold)
        description = f"{image.path}: {text}"
        return Picture(image.content, description, text if with_caption else "")


def prediction_text(predictions: Predictions, position: int, threshold: float) -> str:
    """Describe the prediction of a row, and its target if it is another class."""
    row = predictions.take(np.array([position]))
    rules, names = TASK_RULES[predictions.task], predictions.names
    if rules.has_numbers:
        return "; ".join(
            f"{_short(name)}: {number(float(row.p[0, index]))}, actual {number(float(row.y[0, index]))}"
            for index, name in enumerate(names[:_MAX_LABELS])
        )
    labels = predicted_labels(predictions.task, row.p, threshold)
    if rules.has_several_labels:
        predicted_names, actual_names = _listed(names, labels[0]), _listed(names, row.y[0] > 0.5)
        actual_text = "" if predicted_names == actual_names else f", actual {actual_names}"
        return f"{predicted_names}{actual_text}"
    predicted, actual = class_indices(labels), class_indices(row.y)
    probability = float(predicted_probabilities(row, predicted)[0])
    text = f"{_short(names[predicted[0]])} {probability:.2f}"
    return text if predicted[0] == actual[0] else f"{text}, actual {_short(names[actual[0]])}"


def _listed(names: Sequence[str], chosen: Sequence[bool]) -> str:
    labels = [_short(name) for name, is_chosen in zip(names, chosen, strict=True) if is_chosen]
    more = f" and {len(labels) - _MAX_LABELS:,} more" if len(labels) > _MAX_LABELS else ""
    return ", ".join(labels[:_MAX_LABELS]) + more or "none"


def _short(name: str) -> str:
    return short_name(name, _NAME_LENGTH)
