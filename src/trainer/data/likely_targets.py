"""Guess which column of a table is to be predicted, for a message about a missing target."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainer.config.read_options import data_section
from trainer.data.feature_diagnostics import IDENTIFIER_NAME
from trainer.data.opening import open_table

_NAMES = re.compile(
    r"(^|[^a-z])(targets?|labels?|class|y|outcome|response|diagnosis|result|status|answer|price|"
    r"churn|default|survived|species|quality)($|[^a-z])",
    re.IGNORECASE,
)
_SHOWN = 4


def likely_targets(source: str, read_options: Sequence[str] = ()) -> list[str]:
    """Return a few columns of a table, the most likely target first.

    Args:
        source: The table.
        read_options: Settings for reading it, as typed.

    Raises:
        ConfigError: A setting is invalid.
        DataError: The table cannot be read.
    """
    data = data_section(source, "target", read_options)
    columns = open_table(data, streamed=False).header.frame.columns
    named = [name for name in columns if _NAMES.search(name)]
    # Most tables have the target in the last column, some in the first.
    ends = [name for name in (columns[-1], columns[0]) if not IDENTIFIER_NAME.search(name)]
    likely = list(dict.fromkeys([*named, *ends, *reversed(columns)]))
    return likely[:_SHOWN]
