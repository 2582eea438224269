"""A page about the images of a dataset before training: examples of each class, sizes, memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trainer.data.dataset import Dataset
from trainer.data.image_sample import ClassExamples, HeaderSample, class_examples, sample_headers
from trainer.data.splits import SPLIT_NAMES
from trainer.errors import pluralize
from trainer.report.page.content import (
    Block,
    Gallery,
    Page,
    Paragraph,
    Picture,
    section,
    table_block,
)
from trainer.report.text import format_bytes

_MAX_SIZES = 50


def contact_sheet_page(name: str, dataset: Dataset, memory: Mapping[str, int]) -> Page:
    """Make the page.

    Args:
        name: The name of the experiment.
        dataset: The table, with a column of images.
        memory: What → bytes that training needs.
    """
    column = dataset.preprocessing.image
    assert column is not None, "the dataset has a column of images"
    headers = sample_headers(dataset.table.frame[column.name])
    examples = class_examples(dataset)
    splits = {split: dataset.rows(split) for split in SPLIT_NAMES if dataset.rows(split)}
    counts = ", ".join(f"{rows:,} {split}" for split, rows in splits.items())
    size = f"{column.width} × {column.height} × {column.channels}"
    return Page(
        f"{name} – images",
        (f"{pluralize(sum(splits.values()), 'image')} ({counts}), shown as the network sees them, "
         f"{size}.",),
        (
            section("images", "Images", _galleries(dataset, examples)),
            section("sizes", "Sizes", _tables(dataset, headers, examples, memory)),
        ),
    )  # fmt: skip


def _galleries(dataset: Dataset, examples: list[ClassExamples]) -> Iterator[Block]:
    counts = {split: dataset.classes(split) for split in SPLIT_NAMES if dataset.rows(split)}
    for shown in examples:
        by_split = {split: classes.get(shown.name, 0) for split, classes in counts.items()}
        listed = ", ".join(f"{rows:,} {split}" for split, rows in by_split.items())
        title = f"{shown.name}: {listed}" if shown.name else "Images"
        pictures = zip(shown.paths, shown.thumbnails, strict=True)
        yield Gallery(
            title, tuple(Picture(file, path, path.rpartition("/")[2]) for path, file in pictures)
        )
    others = len(dataset.preprocessing.target.classes) - len(examples)
    if dataset.preprocessing.target.classes and others > 0:
        yield Paragraph(f"{pluralize(others, 'more class')} not shown.")


def _tables(
    dataset: Dataset,
    headers: HeaderSample,
    examples: list[ClassExamples],
    memory: Mapping[str, int],
) -> Iterator[Block]:
    splits = [split for split in SPLIT_NAMES if dataset.rows(split)]
    counts = {split: dataset.classes(split) for split in splits}
    rows = [
        (name, *(f"{counts[split].get(name, 0):,}" for split in splits))
        for name in dataset.preprocessing.target.classes
    ]
    numbers = range(1, len(splits) + 1)
    yield table_block("Images by class", ("class", *splits), rows, right=numbers)
    sizes = [
        (f"{width} × {height}", f"{files:,}")
        for (width, height), files in headers.sizes[:_MAX_SIZES]
    ]
    title = f"Sizes in pixels, of {pluralize(headers.files, 'file')}"
    yield table_block(title, ("width × height", "files"), sizes, right=(1,))
    yield table_block(
        "Memory",
        ("", "size"),
        [(name, format_bytes(size)) for name, size in memory.items()],
        right=(1,),
    )
    broken = dict([*headers.broken, *(pair for shown in examples for pair in shown.broken)])
    yield table_block("Broken files among those looked at", ("file", "reason"), broken.items())
