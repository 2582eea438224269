"""The text of a config of task: generate that `trainer init` proposes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.config.yaml_writer import scalar_text
from trainer.data.generation_recipe import GenerationRecipe
from trainer.data.image_proposal import comment_text
from trainer.data.recipes import Effort
from trainer.errors import command_text

_EPOCHS: Mapping[Effort, float] = {"quick": 0.3, "balanced": 1.0, "best": 2.0}
_MAX_LISTED = 12


@dataclass(frozen=True)
class ProposalSource:
    """What a config is proposed for.

    Attributes:
        path: The path of the table or folder in the config.
        file_name: File name of the config, for its header.
        effort: The training effort, which determines the number of epochs and the size of images.
        name: The name of the experiment, if it is not that of the file.
    """

    path: str
    file_name: str
    effort: Effort
    name: str | None = None


def head_lines(title: str, where: ProposalSource, *, is_image: bool) -> list[str]:
    """Return the comments at the start of a config, and its name."""
    check, fit = (comment_text(command_text(verb, where.file_name)) for verb in ("check", "fit"))
    out = "samples" if is_image else "samples.csv"
    commands = (
        (check, "show columns, networks and memory"),
        (fit, "train; the run has samples of each epoch"),
        (f"trainer predict RUN --count 1000 -o {out}", "draw new samples"),
    )
    width = max(len(command) for command, _ in commands)
    return [
        f"# {comment_text(title)}.",
        "#",
        *(f"#   {command:{width}}   {about}" for command, about in commands),
        "#",
        "# All settings and their defaults: trainer schema --markdown",
        *([] if where.name is None else [f"name: {scalar_text(where.name)}"]),
    ]


def counts_text(classes: Mapping[str, int]) -> str:
    """Return the rows of the first classes as text for a comment."""
    shown = [f"{comment_text(name)} {count:,}" for name, count in [*classes.items()][:_MAX_LISTED]]
    more = len(classes) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more classes" if more else "")


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
