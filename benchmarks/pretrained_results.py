"""Render the measurements of pretrained networks: frozen ones for images, and encoders of texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.markdown import figure, met_text, table

_TRANSFER_EPOCHS = 20
_STEP, _FROZEN = 1.3, 30


def transfer_sections(measured: Mapping[str, Any]) -> Iterator[str]:
    """Render the comparison of cached features with a frozen network in each step."""
    yield (
        f"MobileNetV2 without training on {measured['images']:,} JPEG files of two classes, "
        f"{measured['size']} × {measured['size']} pixels, and two layers on its output, for "
        f"{measured['epochs']} epochs. trainer computes the output once and caches it; the Keras script "
        "has the network in each step. Whole processes, with evaluation and report for trainer."
    )
    seconds = measured["seconds"]
    names = {
        "first": "trainer fit",
        "cached": "trainer fit, features cached by the first run",
        "keras": "Keras",
    }
    rows = [
        (
            text,
            figure(seconds[name]["wall"]),
            figure(seconds[name]["cpu"]),
            figure(1e3 * seconds[name]["epoch"]),
        )
        for name, text in names.items()
    ]
    yield table(("", "seconds", "CPU seconds", "fastest epoch, ms"), rows)
    ratio = measured["ratios"]["first"]["epoch"]
    yield (
        f"An epoch is {ratio:.0f}× as fast as Keras's; at least {_TRANSFER_EPOCHS}×: "
        f"{met_text(ratio >= _TRANSFER_EPOCHS)}. The whole process is "
        f"{measured['ratios']['first']['wall']:.1f}× as fast."
    )


def encoder_sections(measured: Mapping[str, Any]) -> Iterator[str]:
    """Render the comparison of fine-tuning with PyTorch, and of frozen features with an encoder."""
    yield (
        "Fine-tuning an encoder of the size of MiniLM (6 layers of 384 values, random weights) on "
        f"{measured['rows']:,} texts of 64 tokens in batches of 16, on {measured['threads']} thread: a "
        "step in the fastest epoch, and the whole process from texts to a saved network, of "
        f"{measured['epochs']} epochs. Hugging Face: `BertForSequenceClassification`; PyTorch: "
        "`nn.TransformerEncoderLayer` on token ids."
    )
    rows = []
    for setting, steps in measured["step_ms"].items():
        processes = measured["process_s"][setting]
        ratio = steps["hugging_face"] / steps["trainer"]
        rows.append(
            (
                setting,
                *(figure(steps[name]) for name in ("trainer", "hugging_face", "torch")),
                f"{ratio:.2f}× ({_STEP}×: {met_text(ratio >= _STEP)})",
                *(figure(processes[name]) for name in ("trainer", "hugging_face")),
            )
        )
    yield table(
        (
            "",
            "ms a step, trainer",
            "Hugging Face",
            "PyTorch",
            "Hugging Face / trainer",
            "process, trainer, s",
            "Hugging Face",
        ),
        rows,
    )
    short, frozen = measured["short_texts"], measured["frozen"]
    yield (
        "With as many tokens as the sentences of configs/data have, an epoch takes "
        f"{short['epoch_s']:.1f} s instead of {short['epoch_of_64_tokens_s']:.1f} s, because batches "
        "have texts of similar length. On a frozen encoder's features, which take "
        f"{frozen['features_s']:.1f} s once, an epoch takes {1e3 * frozen['epoch_s']:.1f} ms; "
        f"with the encoder in each step, {frozen['epoch_with_encoder_s']:.1f} s: "
        f"{frozen['ratio']:,}×, at least {_FROZEN}×: {met_text(frozen['ratio'] >= _FROZEN)}."
    )
