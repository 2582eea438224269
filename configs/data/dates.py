"""Write the table of dates: English dates in several forms, and the French ones.

    pip install 'babel>=2.16'
    python configs/data/dates.py configs/data/dates.csv

The forms are those of CLDR, as Babel 2.19 writes them (dates.LICENSE.txt): the full, long and medium
forms of American and British English, and the full form of French if the weekday is in the English one,
else the long form. The output is deterministic for a release of Babel.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from babel.dates import format_date

ROWS, SEED = 4_000, 1
FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)
FORMS = ("full", "long", "medium")
LOCALES = ("en_US", "en_GB")


def rows() -> Iterator[tuple[str, str]]:
    """Yield different pairs."""
    generator = random.Random(SEED)
    seen = set()
    while len(seen) < ROWS:
        day = FIRST + timedelta(days=generator.randrange((LAST - FIRST).days + 1))
        form, locale = generator.choice(FORMS), generator.choice(LOCALES)
        english = format_date(day, form, locale)
        if english not in seen:
            seen.add(english)
            yield english, format_date(day, "full" if form == "full" else "long", "fr")


def main() -> None:
    """Write the table that the argument names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the table to write")
    arguments = parser.parse_args()
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("english", "french"))
        writer.writerows(rows())


if __name__ == "__main__":
    main()
