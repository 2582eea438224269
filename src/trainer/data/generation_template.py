"""The text of a config of task: generate that `trainer init` proposes."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.config.template import comment_text
from trainer.data.generation_recipe import GenerationRecipe
from trainer.data.proposals import ConfigFile
from trainer.data.recipes import Effort

_EPOCHS: Mapping[Effort, float] = {"quick": 0.3, "balanced": 1.0, "best": 2.0}


def head_lines(title: str, file: ConfigFile, *, is_image: bool) -> list[str]:
    """Return the comments at the start of a config, and its name."""
    out = "samples" if is_image else "samples.csv"
    commands = (
        (file.command("check"), "show columns, networks and memory"),
        (file.command("fit"), "train; the run has samples of each epoch"),
        (f"trainer predict RUN --count 1000 -o {out}", "draw new samples"),
    )
    width = max(len(command) for command, _ in commands)
    return [
        f"# {comment_text(title)}.",
        "#",
        *(f"#   {command:{width}}   {about}" for command, about in commands),
        "#",
        "# All settings and their defaults: trainer schema --markdown",
        *file.name_lines(),
    ]


def split_line() -> str:
    """Return the split."""
    about = "samples of each epoch are compared with validation rows"
    return f"split: {{test: 0.2, validation: 0.2}}  # {about}"


def network_lines(recipe: GenerationRecipe) -> list[str]:
    """Return the section `networks`."""
    adam = f"name: adam, learning_rate: {recipe.rate}, beta_1: 0.5"
    return [
        "networks:",
        "  generator:  # its output layer is added",
        "    layers:",
        *(f"      {line}" for line in recipe.generator),
        f"    optimizer: {{{adam}, ema: 0.995}}  # samples are those of the averaged weights",
        "  discriminator:",
        "    layers:",
        *(f"      {line}" for line in recipe.discriminator),
        f"    optimizer: {{{adam}}}",
    ]


def generation_lines(
    recipe: GenerationRecipe, *, is_conditioned: bool, side: int | None
) -> list[str]:
    """Return the section `generation`.

    Args:
        recipe: The networks and their training.
        is_conditioned: Whether samples of a class can be drawn.
        side: The side of images whose pixels are columns; None for others.
    """
    image, condition = list[str](), list[str]()
    if side:
        image = [f"  image: {side}  # the columns are the pixels, row by row"]
    if is_conditioned:
        condition = ["  condition: true  # samples of a class: trainer predict RUN --class NAME"]
    return ["generation:", *(f"  {line}" for line in recipe.generation), *image, *condition]


def fit_lines(recipe: GenerationRecipe, effort: Effort) -> list[str]:
    """Return the section `fit`."""
    epochs = max(round(recipe.epochs * _EPOCHS[effort]), 1)
    about = "the epoch with the smallest Fréchet distance is the best one"
    return ["fit:", f"  epochs: {epochs}  # {about}", f"  batch_size: {recipe.batch_size}"]
