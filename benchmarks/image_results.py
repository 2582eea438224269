"""Render the comparison of trainer with Keras, PyTorch and Ultralytics on folders of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.image_workloads import WORKLOADS
from benchmarks.markdown import figure, table

_NAMES = {
    "trainer": "trainer fit",
    "keras": "Keras, image_dataset_from_directory",
    "keras_best": "Keras, images cached, an epoch per execution",
    "torch": "PyTorch, decoding in two workers",
    "torch_best": "PyTorch, images in memory",
    "ultralytics": "Ultralytics, images cached in memory",
}


def image_sections(measured: Mapping[str, Any]) -> Iterator[str]:
    """Render one table for each network."""
    yield (
        "Color JPEG files of 160 × 120 in two folders, a fifth of them for validation after each epoch. "
        "Whole processes with start-up, decoding and saving; `trainer fit` has an empty cache, and "
        "evaluates and reports as well. A step is an epoch of the second half, validation included, "
        "divided by its training steps. Medians of the rounds."
    )
    for name, result in measured.items():
        workload, programs = WORKLOADS[name], result["programs"]
        ours = programs["trainer"]
        yield (
            f"{workload.title[0].upper()}{workload.title[1:]}: {workload.images:,} images, "
            f"{workload.epochs} epochs, batch {workload.batch}, {workload.optimizer}. "
            f"Rounds: {result['rounds']}."
        )
        rows = []
        for program, figures in programs.items():
            row = [_NAMES[program]]
            for key in ("seconds", "cpu_seconds", "first_epoch", "step_milliseconds"):
                ratio = "" if program == "trainer" else f" ({figures[key] / ours[key]:.1f}×)"
                row.append(figure(figures[key]) + ratio)
            rows.append(row)
        head = ("", "seconds", "CPU seconds", "first epoch, s", "ms per step")
        yield table(head, rows)
