"""Render the comparisons of training two networks: a generator with a discriminator, and translation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.markdown import figure, met_text, table

_OURS = "trainer, XLA"
_MIN_RATIOS = {"train_on_batch": 3}
"""Program → target for the time of its step, relative to that of trainer."""
_PROGRAMS = {"trainer": "trainer", "keras": "Keras", "torch": "PyTorch, `nn.Transformer`"}


def gan_sections(measured: Mapping[str, Any]) -> Iterator[str]:
    """Render the time of a step of a generator and a discriminator."""
    yield (
        "A generator 64-256-512-784 with batch normalization, a discriminator 784-512-256-1, batches of "
        f"100, Adam, {measured['threads']} threads. A step updates both. `train_on_batch` is the "
        "alternation of tutorials, `GradientTape` one function with both updates. Without compilation; "
        f"medians of {measured['repeats']} times {measured['steps']} steps."
    )
    variants = measured["variants"]
    rows = []
    for name, times in variants.items():
        ratio = times["step"] / variants[_OURS]["step"]
        minimum = _MIN_RATIOS.get(name)
        target = ("", "") if minimum is None else (f"{minimum}×", met_text(ratio >= minimum))
        shown = "1" if name == _OURS else f"{ratio:.1f}×"
        rows.append((name, figure(times["step"]), figure(times["step_cpu"]), shown, *target))
    yield table(("", "ms per step", "CPU ms", "relative to trainer", "target", ""), rows)


def translation_sections(measured: Mapping[str, Any]) -> Iterator[str]:
    """Render the times of training and decoding of an encoder and decoder."""
    yield (
        "An encoder and a decoder of two layers each, 128 values, 4 heads, 512 units; "
        f"{measured['rows']:,} dates, batches of 64, Adam, threads: {measured['threads']}. A step is "
        "that of the fastest epoch. Decoding is that of 512 texts at once with random weights, so that "
        "hardly one ends early; Keras and PyTorch compute all positions before each position again. In "
        "brackets, relative to trainer."
    )
    programs = measured["programs"]
    ours, rows = programs["trainer"], []
    for program, figures in programs.items():
        cells = [_PROGRAMS[program]]
        for name in ("step", "greedy", "beam_4"):
            if name not in figures:
                cells.append("")
                continue
            ratio = "" if program == "trainer" else f" ({figures[name] / ours[name]:.1f}×)"
            cells.append(figure(figures[name]) + ratio)
        rows.append(cells)
    head = ("", "training, ms per step", "greedy decoding, ms per text", "beam of 4, ms per text")
    yield table(head, rows)
