"""Whether the programs of a plan are compiled with XLA."""

from __future__ import annotations

from trainer.config.layers.custom import Custom
from trainer.config.translation import encoder_decoder
from trainer.engine.devices import uses_gpu
from trainer.workflows.plan import RunPlan
from trainer.workflows.plans import AnyPlan

# Compiling takes a second the first time, and a third of that once the program is cached.
_COMPILE_SECONDS = 0.5

# On an H200, a step of a plain program takes 2.5 to 4 ms, as each operation is launched from the host;
# under XLA, it takes 45 µs for two layers of 64 units. Compiling takes about 3 seconds.
_GPU_COMPILE_SECONDS, _GPU_SAVED_SECONDS = 3.0, 2.5e-3

# CPU seconds to compile one layer of an encoder and decoder of 64 values, and of a step that is saved
# for each multiplication and row: 940 steps of configs/dates_translate.yaml take 32 s less, after 68 s.
_TRANSLATION_COMPILE_SECONDS, _TRANSLATION_SAVED_SECONDS = 17.0, 1.2e-10


def should_compile(plan: AnyPlan) -> bool:
    """Return whether XLA saves more time than compilation takes.

    Measured on one core: a step saves 70 µs of overhead and 1 µs per 1,000 parameters in the
    optimizer, and loses 1 µs per 230,000 multiplications in large products. Custom layers may not be
    compilable.

    A convolution within an XLA loop on a CPU is 14 times slower than in a plain program: for three
    convolutions of a batch of 32 images of 28×28, a step takes 480 to 500 ms of CPU time instead of 35.
    As matrix products (`trainer.models.convolution`), conv2d is no faster than in a plain program, and
    takes longer to compile. On a GPU, XLA calls cuDNN.
    """
    if plan.config.runtime.jit_compile != "auto":
        return plan.config.runtime.jit_compile
    custom = any(isinstance(layer.settings, Custom) for layer in plan.config.model.layers)
    if custom or plan.parameters is None:
        return False
    if uses_gpu():
        return _GPU_SAVED_SECONDS * plan.total_steps > _GPU_COMPILE_SECONDS
    if plan.convolutional:
        return False
    if isinstance(plan, RunPlan) and plan.network.translation is not None:
        return _translation_seconds(plan) > 0
    batch = min(plan.config.fit.batch_size, plan.dataset.rows("train"))
    saved = 70e-6 + 1e-9 * plan.parameters - plan.parameters * batch / 230e9
    return saved * plan.total_steps > _COMPILE_SECONDS


def _translation_seconds(plan: RunPlan) -> float:
    """Return the CPU seconds that XLA saves in the training of an encoder and decoder."""
    layers = 2 * encoder_decoder(plan.config.model).layers
    rows, programs = min(plan.config.fit.batch_size, plan.dataset.rows("train")), 1
    if plan.token_batches is not None:
        # Each length has a program.
        rows, programs = plan.token_batches.whole_rows, len(set(plan.token_batches.lengths))
    saved = _TRANSLATION_SAVED_SECONDS * rows * (plan.multiplications or 0)
    return saved * plan.total_steps - _TRANSLATION_COMPILE_SECONDS * layers * programs
