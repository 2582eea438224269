"""Write the table of phrases: short English strings of user interfaces and their French translations.

    pip download --no-deps --no-binary :none: django wagtail jupyterlab-language-pack-fr-fr
    for wheel in *.whl; do unzip -q -d packages $wheel; done
    python configs/data/phrases.py packages configs/data/phrases.csv

The strings are those of the gettext catalogues of Django 5.2, Wagtail 8.0 and the language pack of
JupyterLab 4.5 (all BSD 3-clause, see phrases.LICENSE.txt), without markup, placeholders and plural
forms, of at most ten words and MAX_CHARACTERS characters. A string with several translations has the
most frequent one. The output is deterministic for a release of these packages.
"""

from __future__ import annotations

import argparse
import csv
import gettext
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

MAX_WORDS, MAX_CHARACTERS = 10, 60
PLACEHOLDERS = re.compile(r"[%{}<>$|\\_&@/=\[\]]|\n|https?:")


def pairs(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the strings of all French catalogues and their translations."""
    for path in sorted(folder.rglob("*.mo")):
        if not {"fr", "fr_FR"} & set(path.parts):
            continue
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)
        for key, translation in sorted(catalogue._catalog.items(), key=str):
            if isinstance(key, str) and isinstance(translation, str):
                # A context precedes the string.
                yield key.rpartition("\x04")[2], translation


def is_phrase(text: str) -> bool:
    """Return whether a string is a short text without placeholders and markup."""
    return (
        any(character.isalpha() for character in text)
        and len(text.split()) <= MAX_WORDS
        and len(text) <= MAX_CHARACTERS
        and PLACEHOLDERS.search(text) is None
    )


def rows(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield a translation of each phrase, in the order of the phrases."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for pair in pairs(folder):
        english, french = (" ".join(text.split()) for text in pair)
        if is_phrase(english) and is_phrase(french):
            found[english][french] += 1
    for english, translations in sorted(found.items()):
        yield english, min(translations, key=lambda text: (-translations[text], text))


def main() -> None:
    """Write the table that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the folder of the extracted packages")
    parser.add_argument("out", type=Path, help="the table to write")
    arguments = parser.parse_args()
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("english", "french"))
        writer.writerows(rows(arguments.source))


if __name__ == "__main__":
    main()
