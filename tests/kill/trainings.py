"""Training runs that are killed: each takes a few seconds and has different state to lose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.data.images import make_images
from tests.models.pretrained.encoder_folders import WORDS, write_encoder

_CONFIG = """\
name: {name}
seed: 11
evaluate: {{baselines: [linear]}} # boosting takes a second in each process
data:
  source: table.csv
  target: label
  split: {{test: 0.2, validation: 0.2, by: stratified}}
"""

_EVERYTHING = """\
model:
  layers:
    - dense: {units: 16, activation: relu}
    - batch_normalization
    - dropout: 0.2
    - dense: {units: 8, activation: relu}
optimizer:
  name: adamw
  learning_rate: 0.003
  schedule: {cosine: {warmup: 4 epochs}}
  ema: 0.98
fit:
  epochs: EPOCHS
  batch_size: 16
  class_weight: balanced
  early_stopping: {monitor: val_loss, patience: PATIENCE}
  checkpoint: {every: EVERY}
"""

_PLATEAU = """\
model:
  layers:
    - dense: {units: 16, activation: relu}
    - dropout: 0.2
    - dense: {units: 8, activation: tanh}
optimizer: {name: sgd, learning_rate: 0.2, momentum: 0.9}
fit:
  epochs: 90
  batch_size: 16
  reduce_on_plateau: {monitor: val_loss, patience: 2, factor: 0.7, cooldown: 1}
  early_stopping: {monitor: val_loss, patience: 30, restore_best: false}
  checkpoint: {every: 200 steps, keep: 3}
"""

_LONG = """\
model:
  layers:
    - dense: {units: 448, activation: relu}
    - batch_normalization
    - dropout: 0.2
    - dense: {units: 448, activation: relu}
optimizer: {name: adam, learning_rate: 0.001, ema: 0.9}
fit:
  epochs: 3
  batch_size: 512
  class_weight: balanced
  checkpoint: {every: 10 steps}
"""

_CONVOLUTIONS = """\
model:
  layers:
    - reshape: [-1, 1]
    - conv1d: {filters: 8, padding: same, activation: relu}
    - residual:
        layers: [{conv1d: {filters: 12, padding: same}}, batch_normalization]
        normalize_shortcut: true
    - spatial_dropout: 0.2
    - global_average_pool
optimizer: {name: adam, learning_rate: 0.003}
fit:
  epochs: 12
  batch_size: 32
  checkpoint: {every: 20 steps}
"""

_BLOCKS = """\
model:
  layers:
    - dense: {units: 8, activation: sigmoid}
    - dropout: 0.1
optimizer: {name: adam, learning_rate: 0.01, ema: 0.9}
fit:
  epochs: 1500
  batch_size: 16
  early_stopping: {monitor: val_loss, patience: 1000}
  checkpoint: {every: 1 epoch}
"""

_SHORT = """\
model: {layers: [dropout: 0.2]}
optimizer: {name: sgd, learning_rate: 0.1, momentum: 0.9}
fit:
  epochs: 3
  batch_size: 16
  early_stopping: 2
  checkpoint: {every: 1 epoch}
"""


_IMAGES = """\
model:
  augment: [flip, {rotate: 20}, {shift: 0.1}, contrast, {noise: 0.02}, {mixup: 0.5}, cutmix]
  layers:
    - conv2d: {filters: 8, kernel_size: 3, use_bias: false}
    - batch_normalization
    - activation: relu
    - max_pool2d: 2
    - spatial_dropout: 0.2
    - global_average_pool
    - dense: {units: 16, activation: relu}
optimizer: {name: adamw, learning_rate: 0.003, ema: 0.9}
fit:
  epochs: 12
  batch_size: 16
  checkpoint: {every: 10 steps}
"""


_ENCODER = """\
model:
  pretrained: {file: encoder, frozen: 2 epochs, layer_decay: 0.9}
  layers: [{dropout: 0.1}]
optimizer: {name: adamw, learning_rate: 0.003, schedule: {polynomial: {warmup: 1 epoch}}}
fit:
  epochs: 10
  batch_size: 16
  checkpoint: {every: 10 steps}
"""

_ADAPTERS = """\
model:
  pretrained: {file: encoder, lora: {rank: 2}}
  layers: []
optimizer: {name: adam, learning_rate: 0.01}
fit:
  epochs: 10
  batch_size: 16
  checkpoint: {every: 10 steps}
"""

_GENERATED = """\
name: {name}
seed: 11
data:
  source: table.csv
  task: generate
  target: label
  split: {{test: 0.2, validation: 0.2}}
"""

_ADVERSARIAL = """\
networks:
  generator:
    layers: [{dense: {units: 32, activation: relu}}, batch_normalization]
    optimizer: {name: adam, learning_rate: 0.001, beta_1: 0.5, ema: 0.95}
  discriminator:
    layers: [{dense: {units: 32, activation: leaky_relu}}, {dropout: 0.2}]
    spectral_normalization: true
generation:
  latent: 8
  condition: true
  discriminator_steps: 2
  instance_noise: {stddev: 0.1, over: 10 epochs}
  measured: 200
fit:
  epochs: 15
  batch_size: 16
  checkpoint: {every: 10 steps}
"""


_COMPRESSED = """\
model:
  layers:
    - dense: {units: 16, activation: relu}
    - batch_normalization
    - dense: {units: 8, activation: relu}
optimizer: {name: adamw, learning_rate: 0.003}
fit:
  epochs: 20
  batch_size: 16
  early_stopping: {monitor: val_loss, patience: 6}
  checkpoint: {every: 20 steps}
compress: {prune: 0.8, cluster: {clusters: 8, start: 0.6}, quantize: int8}
"""


_TRANSLATION = """\
model:
  encoder_decoder: {layers: 1, heads: 2, width: 16, feed_forward: 32, dropout: 0.2}
optimizer: {name: adam, learning_rate: 0.005, ema: 0.9, schedule: {inverse_square_root: 1 epoch}}
loss: {label_smoothing: 0.1}
fit:
  epochs: 8
  batch_size: 16
  early_stopping: {monitor: val_bleu, patience: 8}
  checkpoint: {every: 10 steps}
runtime: {jit_compile: false}
"""


@dataclass(frozen=True, slots=True)
class TrainingCase:
    """A training run.

    Attributes:
        name: The name in its config.
        text: Its config without the `data` section.
        rows: Number of rows of its table.
        patches: Module, name and value, set in each process before it trains.
        images: Whether the rows are images.
        texts: Whether the rows are texts, beside the folder of an encoder.
        pairs: Whether the rows are texts and their translations.
        generated: Whether rows are generated.
    """

    name: str
    text: str
    rows: int
    patches: tuple[tuple[str, str, object], ...] = ()
    images: bool = False
    texts: bool = False
    pairs: bool = False
    generated: bool = False

    def write(self, folder: Path) -> Path:
        """Write table and config to a directory; return the config."""
        data = (_GENERATED if self.generated else _CONFIG).format(name=self.name)
        if self.images:
            make_images(folder / "photos", count=self.rows // 2)
            data = data.replace(
                "table.csv",
                "photos\n  image: {resize: 12, crop: 10, random_crop: true, scale: standardize}",
            )
        elif self.pairs:
            data = data.replace("label\n", "label\n  task: translate\n  tokens: {length: 12}\n")
            data = data.replace(", by: stratified", "").replace(
                "{baselines: [linear]}", "{decoding: 2}"
            )
            write_pairs(folder / "table.csv", self.rows)
        elif self.texts:
            data += "  tokens: {length: 40}\n  columns: {text: {kind: tokens}}\n"
            write_texts(folder / "table.csv", self.rows)
            write_encoder(folder / "encoder", max_position_embeddings=40)
        else:
            write_table(folder / "table.csv", self.rows)
        config = folder / f"{self.name}.yaml"
        config.write_text(data + self.text, encoding="utf-8")
        return config


# Checkpoints are postponed while they take more than this fraction of the time.
_OFTEN = ("trainer.engine.checkpoint_schedule", "MAX_WRITING_FRACTION", 0.5)


def _everything(epochs: int, patience: int, every: str) -> str:
    text = _EVERYTHING.replace("EPOCHS", str(epochs)).replace("PATIENCE", str(patience))
    return text.replace("EVERY", every)


CASES = (
    TrainingCase("everything", _everything(60, 20, "1 epoch"), 3_000),
    TrainingCase("plateau", _PLATEAU, 4_000, (_OFTEN,)),
    TrainingCase(
        "streaming",
        _everything(25, 12, "60 steps") + "runtime: {engine: streaming}\n",
        2_000,
        # Two windows per epoch, and three calls of 25 steps.
        (
            _OFTEN,
            ("trainer.engine.streaming", "SHARD_ROWS", 128),
            ("trainer.engine.batches", "_CALL_SECONDS", 0.001_55),
        ),
    ),
    TrainingCase(
        "convolutions",
        _CONVOLUTIONS,
        2_000,
        # Several calls per epoch.
        (_OFTEN, ("trainer.engine.batches", "_CALL_SECONDS", 0.001_55)),
    ),
    TrainingCase("blocks", _BLOCKS, 60, (_OFTEN,)),
    TrainingCase("images", _IMAGES, 400, (_OFTEN,), images=True),
    TrainingCase("encoder", _ENCODER, 800, (_OFTEN,), texts=True),
    TrainingCase("adapters", _ADAPTERS, 800, (_OFTEN,), texts=True),
    TrainingCase(
        "compressed",
        _COMPRESSED,
        2_000,
        (
            _OFTEN,
            ("trainer.engine.batches", "_CALL_SECONDS", 0.001_55),
            # The measured times differ, and conversions take longer than the training.
            ("trainer.workflows.compression", "_EXPORTS", ()),
        ),
    ),
    TrainingCase(
        "adversarial",
        _ADVERSARIAL,
        1_000,
        # Several calls per epoch.
        (_OFTEN, ("trainer.engine.batches", "_CALL_SECONDS", 0.001_55)),
        generated=True,
    ),
    TrainingCase("long", _LONG, 60_000, (_OFTEN,)),
    TrainingCase("translation", _TRANSLATION, 800, (_OFTEN,), pairs=True),
)
"""`everything` has no patch; the epochs of `long` take several calls without one."""

SHORT = TrainingCase(
    "short",
    _SHORT,
    160,
    # A checkpoint after each epoch, and several calls per epoch.
    (
        ("trainer.engine.checkpoint_schedule", "MAX_WRITING_FRACTION", 1e9),
        ("trainer.engine.batches", "_CALL_SECONDS", 0.0002),
    ),
)
"""A very short training, killed at each disk operation."""


def write_table(path: Path, rows: int) -> None:
    """Write six numbers, a category and a label that depends on them; a fifth of the rows is yes."""
    rng = np.random.default_rng(rows)
    numbers = rng.normal(size=(rows, 6))
    colors = rng.integers(3, size=rows)
    score = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] + 0.7 * (colors == 1)
    labels = score + rng.normal(size=rows) > np.quantile(score, 0.8)
    lines = [",".join([*(f"x{number}" for number in range(6)), "color", "label"])]
    for row in range(rows):
        values = [f"{value:.4f}" for value in numbers[row]]
        color, label = ("red", "green", "blue")[colors[row]], "yes" if labels[row] else "no"
        lines.append(",".join([*values, color, label]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_texts(path: Path, rows: int) -> None:
    """Write texts of up to 38 words, so that batches have three lengths, and a label of theirs."""
    rng = np.random.default_rng(rows)
    lines = ["text,label"]
    for _ in range(rows):
        words = rng.choice(WORDS[:14], rng.integers(1, 39))
        is_yes = np.isin(words, ("great", "lovely", "perfect")).any()
        lines.append(f"{' '.join(words)},{'yes' if is_yes else 'no'}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_pairs(path: Path, rows: int) -> None:
    """Write texts of up to four words, and the same words backwards."""
    rng = np.random.default_rng(rows)
    lines = ["text,label"]
    for _ in range(rows):
        words = rng.choice(WORDS[:14], rng.integers(1, 5)).tolist()
        lines.append(f"{' '.join(words)},{' '.join(words[::-1])}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
