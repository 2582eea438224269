"""`trainer schema`: prints the config's JSON Schema or its reference page."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from trainer_cli import console


def command(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a reference of all settings instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of configs, for editors.

    Example: trainer schema > configs/schema.json, with this first line in the config:
    # yaml-language-server: $schema=schema.json
    """
    from trainer.config.describe import json_schema, reference_markdown

    if markdown:
        console.result(reference_markdown().rstrip("\n"))
    else:
        console.result(json.dumps(json_schema(), indent=2, ensure_ascii=False))
