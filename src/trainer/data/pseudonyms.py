"""Pseudonyms: a keyed hash in place of each value of some columns, applied as soon as rows are read.

The pseudonym of a value is "p" and the first 24 hexadecimal digits of the HMAC-SHA-256 of its text in
UTF-8, as in `level_text`: 3 and 3.0 are "3", and surrounding whitespace is ignored. So the same value
has the same pseudonym in every table, format and column, and without the key it cannot be tested
whether a pseudonym belongs to a value.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from trainer.config.data import Data
from trainer.config.pseudonyms import KEY_VARIABLE
from trainer.data.values import is_nested, level_text
from trainer.errors import DataError, Problem
from trainer.keys import (
    key_file_warning,
    key_fingerprint,
    key_from_environment,
    new_key_command,
    read_key,
)

_DIGEST_BYTES = 12
_PURPOSE = "pseudonyms of trainer"


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Columns that are pseudonymized. The key is read when it is needed, and never kept.

    Attributes:
        columns: The columns.
        key_file: The file with the key, unless an environment variable contains it.
    """

    columns: tuple[str, ...] = ()
    key_file: str | None = None

    @classmethod
    def from_settings(cls, data: Data) -> Pseudonyms:
        """Return the columns of a `data` section."""
        return cls(tuple(data.pseudonymize), data.pseudonym_key)

    def apply(self, frame: pl.DataFrame, where: str) -> pl.DataFrame:
        """Return rows with pseudonyms in place of values, as text; columns that they lack are ignored.

        Args:
            frame: The rows as they were read.
            where: Where they come from, for messages.

        Raises:
            DataError: There is no valid key, or cells are lists or objects.
        """
        names = [name for name in self.columns if name in frame.columns]
        if not names:
            return frame
        nested = [name for name in names if is_nested(frame.schema[name])]
        if nested:
            fix = "flatten the column, or exclude it from the file"
            expected, found = "single values in a pseudonymized column", "lists or objects"
            raise DataError(
                Problem(where, f"{expected}, '{name}'", found, fix, "") for name in nested
            )
        key = self.key()
        return frame.with_columns(_pseudonyms(frame[name], key) for name in names)

    def key(self) -> bytes:
        """Return the key.

        Raises:
            DataError: There is none, or it is not valid.
        """
        key = key_from_environment(KEY_VARIABLE)
        if key is None and self.key_file is not None:
            key = read_key(Path(self.key_file))
        if key is None:
            fix = f"{new_key_command(Path('pseudonyms.key'))}, and set data.pseudonym_key to that file"
            expected = f"a key, in data.pseudonym_key or the environment variable {KEY_VARIABLE}"
            key = Problem("", expected, "none", fix, "data.pseudonymize")
        if isinstance(key, Problem):
            raise DataError(key)
        return key

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the key; None without pseudonymized columns.

        Raises:
            DataError: There is no valid key.
        """
        return key_fingerprint(self.key(), _PURPOSE) if self.columns else None

    def check_key(self, fingerprint: str | None) -> None:
        """Check that rows are pseudonymized with the key of a run.

        Args:
            fingerprint: The fingerprint that the run recorded.

        Raises:
            DataError: There is no key, or it is another one.
        """
        fix = f"set {KEY_VARIABLE} to the key of the run"
        if self.key_file is not None:
            fix += f", or restore {self.key_file}"
        try:
            current = self.fingerprint()
        except DataError as error:
            # A new key would not help.
            raise DataError(replace(problem, fix=fix) for problem in error.problems) from error
        if current == fingerprint:
            return
        expected = f"the key of the run for pseudonyms, with the fingerprint {fingerprint}"
        found = f"another key, with the fingerprint {current}"
        raise DataError(Problem("", expected, found, fix, "data.pseudonym_key"))

    def warnings(self) -> list[str]:
        """Return a warning if other users can read the file with the key."""
        if not self.columns or self.key_file is None or key_from_environment(KEY_VARIABLE):
            return []
        warning = key_file_warning(Path(self.key_file))
        return [] if warning is None else [warning]

    def without_values(self, notes: list[str]) -> list[str]:
        """Return warnings about a file without those about pseudonymized columns, which quote values."""
        return [note for note in notes if not any(f"'{name}'" in note for name in self.columns)]


def pseudonym(text: str, key: bytes) -> str:
    """Return the pseudonym of a value as text; see the module."""
    return f"p{hmac.digest(key, text.encode(), 'sha256')[:_DIGEST_BYTES].hex()}"


def _pseudonyms(series: pl.Series, key: bytes) -> pl.Series:
    texts = level_text(series)
    known = texts.unique().drop_nulls().to_list()
    hashed = [pseudonym(text, key) for text in known]
    if not known:
        return pl.Series(series.name, [None] * len(series), dtype=pl.String)
    return texts.replace_strict(known, hashed, return_dtype=pl.String).alias(series.name)
