"""Write the table of emoji: the group of each, its description, its code point and its version.

    apt-get download unicode-data unicode-cldr-core
    for package in unicode-*.deb; do dpkg -x $package package; done
    python configs/data/emoji.py package/usr/share/unicode configs/data/emoji.csv

The rows are the fully-qualified emoji of emoji-test.txt (Unicode Technical Standard 51), without other
skin tones. The description is the English name and keywords of CLDR. The output is deterministic.

Copyright 1991-2022 Unicode, Inc., Unicode-DFS-2016 license (emoji.LICENSE.txt).
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

COLUMNS = ("emoji", "description", "code_point", "characters", "version", "group")
SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
VARIATION = "\ufe0f"
LINE = re.compile(r"([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E(\d+\.\d+) (.*)")


def read_keywords(folder: Path) -> dict[str, str]:
    """Return the keywords of each emoji, separated by commas."""
    keywords = {}
    for path in (folder / "annotations" / "en.xml", folder / "annotationsDerived" / "en.xml"):
        for item in ElementTree.parse(path).iter("annotation"):
            if item.get("type") is None:
                words = [word.strip() for word in (item.text or "").split("|")]
                keywords[item.attrib["cp"]] = ", ".join(words)
    return keywords


def table_rows(lines: list[str], keywords: dict[str, str]) -> Iterator[tuple[object, ...]]:
    """Yield the rows, header first."""
    yield COLUMNS
    group = ""
    for line in lines:
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ").strip()
        match = LINE.match(line)
        if match is None:
            continue
        characters = [chr(int(code, 16)) for code in match[1].split()]
        if SKIN_TONES & set(characters):
            continue
        emoji = "".join(characters)
        words = keywords.get(emoji.replace(VARIATION, ""), "")
        description = match[3].strip() + (f": {words}" if words else "")
        yield emoji, description, ord(emoji[0]), len(emoji), match[2], group


def main() -> None:
    """Write the table that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the folder with emoji and cldr data")
    parser.add_argument("out", type=Path, help="the table to write")
    arguments = parser.parse_args()
    (test,) = sorted(arguments.source.rglob("emoji-test.txt"))[:1]
    (folder,) = (path.parent.parent for path in arguments.source.rglob("annotations/en.xml"))
    rows = table_rows(test.read_text("utf-8").splitlines(), read_keywords(folder))
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
