"""Which settings networks of a pack share, which can differ, and what rules packs out."""

from dataclasses import replace

import pytest

from trainer.config.conflicts import find_conflicts
from trainer.config.losses import Loss
from trainer.config.resolve import resolved_loss
from trainer.config.schema import Config
from trainer.inputs import FEATURES, IMAGE, InputSpec
from trainer.models.pack_compatibility import (
    ModelDimensions,
    incompatible_reason,
    member_bytes,
    pack_key,
)
from trainer.models.summary import NetworkShape

NETWORK = NetworkShape((InputSpec(FEATURES, (4,), "float32"),), (), "sigmoid", 1)
DIMENSIONS = ModelDimensions(
    network=NETWORK, loss=Loss(name="binary_crossentropy"), rows=100,
    validation_rows=20, steps=40,
)  # fmt: skip
LAYERS = [
    {"dense": {"units": 8, "activation": "relu"}},
    {"dropout": 0.1},
    {"gaussian_noise": 0.1},
    "batch_normalization",
]


def config(**sections) -> Config:
    result = Config.model_validate(
        {
            "data": {"source": "x", "target": "y"},
            "model": {"layers": LAYERS},
            "fit": {"epochs": 10, "batch_size": 32},
            **sections,
        }
    )
    assert find_conflicts(result) == []
    return result


def layers(index: int, layer) -> dict:
    return {"model": {"layers": [*LAYERS[:index], layer, *LAYERS[index + 1 :]]}}


FREE = [
    {"seed": 3},
    {"name": "other"},
    {"optimizer": {"name": "adam", "learning_rate": 0.5}},
    {"optimizer": {"name": "adam", "schedule": "cosine"}},
    {"optimizer": {"name": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}},
    layers(0, {"dense": {"units": 8, "activation": "relu", "kernel_initializer": "ones"}}),
    layers(0, {"dense": {"units": 8, "activation": "relu", "kernel_regularizer": {"l2": 0.1}}}),
    layers(1, {"dropout": 0.7}),
    layers(2, {"gaussian_noise": 0.5}),
    {"loss": {"name": "binary_crossentropy", "label_smoothing": 0.1}},
    {"fit": {"epochs": 10, "batch_size": 32, "class_weight": "balanced"}},
    {"fit": {"epochs": 10, "batch_size": 32, "early_stopping": 3, "reduce_on_plateau": 2}},
    {"fit": {"epochs": 10, "batch_size": 32, "shuffle": False}},
    {"metrics": ["auc"]},
    {"model": {"layers": LAYERS, "output_bias": "zeros", "head_regularizer": {"l1": 0.1}}},
]
SHARED = [
    layers(0, {"dense": {"units": 9, "activation": "relu"}}),
    layers(0, {"dense": {"units": 8, "activation": "tanh"}}),
    layers(0, {"dense": {"units": 8, "activation": "relu", "use_bias": False}}),
    layers(0, {"dense": {"units": 8, "activation": "relu", "kernel_constraint": "unit_norm"}}),
    layers(1, {"dropout": 0.0}),
    layers(3, {"batch_normalization": {"momentum": 0.5}}),
    {"optimizer": "sgd"},
    {"optimizer": {"name": "adam", "amsgrad": True}},
    {"optimizer": {"name": "adam", "clip_norm": 1.0}},
    {"optimizer": {"name": "adam", "ema": 0.9}},
    {"optimizer": {"name": "adam", "weight_decay": 0.1}},
    {"optimizer": {"name": "adam", "gradient_accumulation_steps": 2}},
    {"loss": "binary_focal_crossentropy"},
    {"fit": {"epochs": 10, "batch_size": 16}},
]


def key_of(config: Config) -> str:
    return pack_key(config, replace(DIMENSIONS, loss=resolved_loss(config, NETWORK.head)))


@pytest.mark.parametrize("sections", FREE, ids=str)
def test_setting_can_differ(sections: dict) -> None:
    assert key_of(config(**sections)) == key_of(config())
    assert incompatible_reason(config(**sections), DIMENSIONS) is None


@pytest.mark.parametrize("sections", SHARED, ids=str)
def test_setting_is_shared(sections: dict) -> None:
    assert key_of(config(**sections)) != key_of(config())


@pytest.mark.parametrize(
    "change",
    [
        {"network": replace(NETWORK, inputs=(InputSpec(FEATURES, (5, 1), "float32"),))},
        {"network": replace(NETWORK, embeddings=((3, 2),))},
        {"network": replace(NETWORK, outputs=2)},
        {"rows": 96},
        {"rows": 129},
        {"validation_rows": 0},
        {"steps": 44},
    ],
)
def test_rows_and_steps_are_shared(change: dict) -> None:
    dimensions = replace(DIMENSIONS, **change)
    assert pack_key(config(), dimensions) != pack_key(config(), DIMENSIONS)


@pytest.mark.parametrize(
    ("layers", "is_shared"),
    [
        ([{"dense": {"units": 8}}], False),
        (["learned_scale", {"dense": {"units": 8}}], False),
        (["learned_scale"], False),
        (["batch_normalization"], True),
        (["learned_scale", "batch_normalization"], True),
    ],
    ids=str,
)
def test_number_of_features_is_shared_unless_a_dense_layer_follows(
    layers: list[object], is_shared: bool
) -> None:
    wider = replace(NETWORK, inputs=(InputSpec(FEATURES, (5,), "float32"),))
    network = config(model={"layers": layers})
    keys = {pack_key(network, replace(DIMENSIONS, network=shape)) for shape in (NETWORK, wider)}
    assert len(keys) == (2 if is_shared else 1)


def test_rows_of_the_last_batch_can_differ() -> None:
    assert pack_key(config(), replace(DIMENSIONS, rows=97)) == pack_key(config(), DIMENSIONS)
    assert pack_key(config(), replace(DIMENSIONS, rows=128)) == pack_key(config(), DIMENSIONS)
    few, fewer = (replace(DIMENSIONS, rows=rows, steps=10) for rows in (9, 8))
    larger = config(fit={"epochs": 10, "batch_size": 64})
    assert len({pack_key(config(), few), pack_key(config(), fewer), pack_key(larger, few)}) == 1


def test_some_optimizer_coefficients_are_shared() -> None:
    def nadam(**settings: float) -> Config:
        return config(optimizer={"name": "nadam", **settings})

    assert pack_key(nadam(beta_1=0.5), DIMENSIONS) != pack_key(nadam(), DIMENSIONS)
    assert pack_key(nadam(beta_2=0.5), DIMENSIONS) == pack_key(nadam(), DIMENSIONS)
    none, some, more = (
        config(optimizer={"name": "sgd", "momentum": momentum}) for momentum in (0.0, 0.5, 0.9)
    )
    assert pack_key(some, DIMENSIONS) == pack_key(more, DIMENSIONS) != pack_key(none, DIMENSIONS)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"optimizer": "adafactor"}, "optimizer.name: adafactor"),
        ({"optimizer": "lamb"}, "optimizer.name: lamb"),
        ({"optimizer": "muon"}, "optimizer.name: muon"),
        ({"optimizer": "schedule_free_adamw"}, "optimizer.name: schedule_free_adamw"),
        ({"runtime": {"precision": "mixed_bfloat16"}}, "runtime.precision: mixed_bfloat16"),
        ({"runtime": {"engine": "streaming"}}, "runtime.engine: streaming"),
        ({"fit": {"on_nonfinite": "rollback"}}, "fit.on_nonfinite: rollback"),
        ({"fit": {"max_seconds": 5.0}}, "fit.max_seconds"),
        ({"fit": {"callbacks": [{"custom": "a:b"}]}}, "a callback"),
        (layers(3, {"custom": "a:b"}), "a custom layer"),
        (
            {"model": {"layers": [{"conv2d": 4}, "flatten"]}},
            "a conv2d layer, which trains faster alone unless images are tiny",
        ),
    ],
)
def test_setting_rules_packs_out(sections: dict, reason: str) -> None:
    assert incompatible_reason(config(**sections), DIMENSIONS) == reason


def test_dimensions_that_rule_packs_out() -> None:
    dimensions = {name: getattr(DIMENSIONS, name) for name in ModelDimensions.__slots__}
    assert (
        incompatible_reason(config(), ModelDimensions(**{**dimensions, "steps": 42}))
        == "fit.steps that is not an integer number of epochs"
    )


def test_member_memory_grows_with_every_dimension() -> None:
    dimensions = {name: getattr(DIMENSIONS, name) for name in ModelDimensions.__slots__}
    base = member_bytes(config(), DIMENSIONS, 100, [(8,), (1,)])
    assert member_bytes(config(), DIMENSIONS, 200, [(8,), (1,)]) > base
    assert member_bytes(config(), DIMENSIONS, 100, [(16,), (1,)]) > base
    assert (
        member_bytes(config(), ModelDimensions(**{**dimensions, "rows": 200}), 100, [(8,), (1,)])
        > base
    )


def test_an_image_rules_packs_out() -> None:
    image = InputSpec(IMAGE, (8, 8, 3), "uint8")
    dimensions = replace(DIMENSIONS, network=replace(NETWORK, inputs=(image,)))
    assert incompatible_reason(config(), dimensions) == "an image as an input"
