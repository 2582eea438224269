"""A pack member equals a single run of its config, up to float32 rounding.

The members of each pack differ in some settings. Each run directory is compared with that of a single
run of the config it contains.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.workflows.conftest import run_fit, write_table
from trainer.config.load import load_config
from trainer.runs.checkpoints import read_checkpoint
from trainer.workflows.events import MemberEnded
from trainer.workflows.packed.pack_schedule import RunSpec, schedule_packs
from trainer.workflows.packed.packs import train_pack
from trainer.workflows.plan import TableCache
from trainer.workflows.session import Session

BASE = """\
name: packed
seed: 3
data:
  source: small.csv
  target: label
  features: {exclude: [id]}
  split: {seed: 1, test: 0.2, validation: 0.2}
model: {layers: [{dense: {units: 6, activation: tanh}}, {dense: {units: 5, activation: relu}}]}
optimizer: {name: adam, learning_rate: 0.01}
fit: {epochs: 3, batch_size: 16}
evaluate: {report: false}
"""

EMBEDDED = [
    "data.categorical.encode=embedding",
    "data.split.fold=1/3",
]
EMBEDDING_OPTIMIZERS = {
    "adamw": "{name: adamw, weight_decay: 0.1, ema: 0.9, clip_norm: 0.01}",
    "lion": "{name: lion, gradient_accumulation_steps: 2}",
}
COMBINED = "combined settings"
HIDDEN = "{dense: {units: 6, activation: tanh}}"
# tests/models/test_stacked_optimizers.py compares every optimizer and each of its settings.
PACKS: dict[str, tuple[list[str], list[list[str]]]] = {
    "seeds and rates": (
        [],
        [
            ["seed=2", "optimizer.learning_rate=0.1", "fit.shuffle=false"],
            ["model.layers.0.dense.kernel_initializer=he_normal", "model.output_bias=zeros"],
            ["optimizer.schedule={exponential: {every: 1 epoch, factor: 0.5}}", "seed=9"],
        ],
    ),
    # The numbers of rows in the last batch differ (2 and 3), and so do the numbers of features.
    "uneven noise": (
        [f"model.layers=[{HIDDEN}, {{dropout: 0.2}}, {{gaussian_noise: 0.1}}, batch_normalization]"],
        [
            ["data.split.fold=1/7", "data.categorical.encode=onehot",
             "model.layers.1.dropout.rate=0.5"],
            ["data.split.fold=7/7", "data.features.exclude=[id, color]",
             "model.layers.2.gaussian_noise.stddev=0.3", "seed=4"],
        ],
    ),
    "uneven rows and features": (
        [
            "optimizer={name: adamw, ema: 0.9, clip_norm: 0.1, amsgrad: true}",
            "model.layers=[{learned_scale: 2}, {dense: {units: 6, kernel_constraint: {max_norm: 0.8}}}, "
            "{dense: {units: 5, activity_regularizer: {l1: 0.01, l2: 0.05}}}]",
        ],
        [
            ["data.split.fold=1/7", "data.categorical.encode=onehot", "data.weight=age"],
            ["data.split.fold=7/7", "data.features.exclude=[id, age]", "seed=5"],
        ],
    ),
    "principal components": (
        [f"model.layers=[{{principal_components: 2}}, learned_scale, {HIDDEN}]"],
        [
            ["data.split.fold=1/7", "data.categorical.encode=onehot"],
            ["data.split.fold=7/7", "seed=2"],
        ],
    ),
    "fewer rows than a batch": (
        ["fit.batch_size=200", "optimizer={name: rmsprop, centered: true, momentum: 0.9}"],
        [["data.split.fold=1/7"], ["data.split.validation=0.4"]],
    ),
    "penalties": (
        [],
        [
            ["model.layers.0.dense.kernel_regularizer={l1: 0.01, l2: 0.02}",
             "model.layers.1.dense.activity_regularizer={l2: 0.05}"],
            ["model.layers.0.dense.bias_regularizer={l2: 0.1}", "model.head_regularizer={l1: 0.1}",
             "loss={name: binary_crossentropy, label_smoothing: 0.2}"],
        ],
    ),
    "weights": (["data.weight=age"], [["fit.class_weight={yes: 3, no: 0.5}"], []]),
    "layers": (
        [
            f"model.layers=[{HIDDEN}, layer_normalization, {{reshape: [2, 3]}}, learned_scale, "
            "unit_normalization, {dense: {units: 4, use_bias: false}}, flatten, {activation: gelu}, "
            "{dense: {units: 4, kernel_constraint: {max_norm: 0.8}, bias_constraint: non_negative}}]",
            "data.categorical.encode=onehot",
        ],
        [["seed=1"], ["seed=2"]],
    ),
    "folds": (
        ["data.split.by=stratified"],
        [["data.split.fold=1/3"], ["data.split.fold=3/3", "seed=5"]],
    ),
    "softmax": (
        ["data.target=color", "loss={name: categorical_crossentropy, label_smoothing: 0.1}"],
        [["loss.label_smoothing=0.0"], ["seed=2"]],
    ),
    "counts": (
        ["data.target=age", "data.task=regression", "loss=poisson"],
        [["seed=1"], ["optimizer.learning_rate=0.003"]],
    ),
    "log target": (
        ["data.target=age", "data.task=regression", "data.target_scale=log"],
        [["seed=1"], ["seed=2"]],
    ),
    "accumulation": (
        ["optimizer.gradient_accumulation_steps=2", "optimizer.ema=0.9"],
        [["optimizer.learning_rate=0.1", "optimizer.schedule=cosine"], ["optimizer.ema=0.5"]],
    ),
    "nesterov": (
        ["optimizer={name: sgd, momentum: 0.5, nesterov: true}", "optimizer.clip_value=0.01"],
        [[], ["optimizer.momentum=0.9"]],
    ),
    "early stopping and learning rate reduction": (
        ["fit.epochs=12", "optimizer.learning_rate=0.3"],
        [
            ["fit.early_stopping.patience=1"],
            ["fit.early_stopping={patience: 2, restore_best: false}", "seed=4"],
            ["fit.reduce_on_plateau={patience: 1, factor: 0.5}"],
        ],
    ),
    # Keras updates embedding tables by their sparse gradients.
    **{
        f"embedding with {name}": (
            [f"optimizer={settings}", "optimizer.learning_rate=0.05", *EMBEDDED],
            [["seed=1"], ["optimizer.learning_rate=0.1", "data.split.fold=2/3"]],
        )
        for name, settings in EMBEDDING_OPTIMIZERS.items()
    },
    # Many settings in one pack, for a quick test.
    COMBINED: (
        ["optimizer={name: adamw, ema: 0.9, global_clip_norm: 0.1}", "data.weight=age",
         "data.categorical.encode=embedding", f"model.layers=[learned_scale, {HIDDEN}]"],
        [
            # 82 and 83 rows, so that the last batch of an epoch has 2 or 3.
            ["seed=1", "data.split.fold=1/7", "data.columns.size.piecewise_bins=4",
             "optimizer.weight_decay=0.1",
             "optimizer.schedule=cosine",
             "model.layers.1.dense.kernel_regularizer={l1: 0.01, l2: 0.02}"],
            ["data.split.fold=7/7", "model.layers.0.learned_scale.multiplier=2",
             "optimizer.learning_rate=0.1", "optimizer.beta_1=0.5", "optimizer.ema=0.5",
             "optimizer.global_clip_norm=0.01",
             "fit.class_weight=balanced", "fit.early_stopping.patience=1",
             "loss={name: binary_crossentropy, label_smoothing: 0.2}"],
        ],
    ),
}  # fmt: skip


def train_members(folder: Path, base: list[str], members: list[list[str]]) -> list[Path]:
    """Train one pack and return the run directories by member."""
    write_table(folder / "small.csv")
    frame = pl.read_csv(folder / "small.csv")
    age = np.random.default_rng(1).uniform(0.5, 2, len(frame)).round(3)
    frame.with_columns(age=pl.Series(age)).write_csv(folder / "small.csv")
    config = folder / "config.yaml"
    config.write_text(BASE, encoding="utf-8")
    specs = [
        RunSpec(number, load_config(config, [*base, *overrides]), folder / f"{number:03d}")
        for number, overrides in enumerate(members)
    ]
    schedule = schedule_packs(specs, TableCache())
    assert dict(schedule.failed) == {}
    (pack,) = schedule.packs
    assert pack.single_reason is None
    events = train_pack(
        pack,
        folder / "pack",
        Session(("trainer", "sweep")),
        splits=("train", "validation", "test"),
    )
    runs = {event.number: event.run for event in events if isinstance(event, MemberEnded)}
    return [runs[number] for number in range(len(members))]


def files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}


def history(run: Path) -> list[dict]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def assert_same(member: Path, single: Path) -> None:
    assert files(member) | {"lock"} == (files(single) | {"lock"}) - {
        name for name in files(single) if "/last-" in name
    }
    for name in ("config.yaml", "preprocessing.json", "splits.parquet"):
        assert (member / name).read_bytes() == (single / name).read_bytes(), name
    assert len(history(member)) == len(history(single))
    for ours, expected in zip(history(member), history(single), strict=True):
        assert list(ours) == list(expected)
        for name in ("epoch", "step", "loss", "val_loss", "learning_rate"):
            assert ours[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5)
    for checkpoint in ("last", "best"):
        ours, expected = (
            read_checkpoint(run / "checkpoints" / checkpoint) for run in (member, single)
        )
        assert list(ours.state) == list(expected.state)
        for name, value in ours.state.items():
            other = expected.state[name]
            assert (value.shape, value.dtype) == (other.shape, other.dtype)
            np.testing.assert_allclose(value, other, rtol=3e-4, atol=3e-5, err_msg=name)
        if checkpoint == "last":
            for name in ("epoch", "step", "best_epoch", "stopped_because"):
                assert ours.metadata[name] == expected.metadata[name]
    for split in ("train", "validation", "test"):
        ours, expected = (
            json.loads((run / "evaluation" / f"{split}.json").read_text())
            for run in (member, single)
        )
        assert ours["rows"] == expected["rows"]
        assert list(ours["metrics"]) == list(expected["metrics"])
        assert ours["metrics"]["loss"] == pytest.approx(
            expected["metrics"]["loss"], rel=1e-4, abs=1e-5
        )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == COMBINED else pytest.mark.slow) for name in PACKS],
)
def test_member_equals_a_single_run(name: str, tmp_path: Path) -> None:
    # Compiled and uncompiled programs draw different noise; without noise, compiling is unnecessary.
    compiled = "true" if "noise" in name else "false"
    for number, run in enumerate(train_members(tmp_path, *PACKS[name])):
        config = tmp_path / f"single-{number}.yaml"
        config.write_text((run / "config.yaml").read_text(), encoding="utf-8")
        single = run_fit(config, tmp_path / "single", f"runtime.jit_compile={compiled}").run
        text = (
            (single / "config.yaml").read_text().replace("jit_compile: false", "jit_compile: true")
        )
        (single / "config.yaml").write_text(text)
        assert_same(run, single)
