"""The order of ordinal levels if the config does not set one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from trainer.data.spellings import casefold_level, natural_sort, parse_number

Order = Literal["numbers", "scale", "alphabet"]

_SCALES = (
    "lowest / very low, extremely low, xlow / low / lower / medium low, mid low, below average "
    "/ medium, moderate, mid, middle, average, normal "
    "/ medium high, mid high, above average / high, elevated / higher "
    "/ very high, extremely high, xhigh / highest, critical, extreme",
    "tiny, very small, extra small / small / medium, mid, mid size, midsize / large, big "
    "/ very large, extra large, huge / enormous, gigantic",
    "xxxs, 3xs / xxs, 2xs / xs / s / m / l / xl / xxl, 2xl / xxxl, 3xl / xxxxl, 4xl / xxxxxl, 5xl",
    "terrible, awful / very bad, very poor / bad, poor / mediocre, below average "
    "/ fair, average, ok, okay, acceptable, neutral, satisfactory / good / very good / great "
    "/ excellent, outstanding / perfect",
    "po / fa / ta / gd / ex",
    "worst / worse / same, unchanged / better / best",
    "never / almost never, very rarely / rarely, seldom / occasionally / sometimes / often "
    "/ frequently, usually, mostly / very often, almost always / always",
    "none, no, absent / minimal, trace / mild, slight / mild to moderate / moderate "
    "/ moderate to severe / severe / very severe, extreme / critical",
    "strongly disagree, completely disagree / disagree / somewhat disagree, slightly disagree "
    "/ neutral, neither agree nor disagree, undecided, neither "
    "/ somewhat agree, slightly agree / agree / strongly agree, completely agree",
    "very dissatisfied / dissatisfied, unsatisfied / neutral / satisfied / very satisfied",
    "very unlikely / unlikely / neutral, possible / likely / very likely / certain",
    "not at all / a little, slightly / somewhat, moderately / very, quite / extremely",
    "very slow / slow / medium, moderate, normal / fast / very fast",
    "freezing / cold / cool / mild, moderate / warm / hot",
    "beginner, novice / elementary, basic / intermediate / advanced / expert",
    "intern / junior / mid, intermediate / senior / lead / principal",
    "bronze / silver / gold / platinum / diamond",
    "primary, elementary / secondary, high school / bachelor, bachelors, bachelor's "
    "/ master, masters, master's / phd, doctorate",
    "first, 1st / second, 2nd / third, 3rd / fourth, 4th / fifth, 5th / sixth, 6th / seventh, 7th "
    "/ eighth, 8th / ninth, 9th / tenth, 10th",
    "one / two / three / four / five / six / seven / eight / nine / ten",
    "night / dawn / morning / noon / afternoon / evening",
    "monday, mon / tuesday, tue, tues / wednesday, wed / thursday, thu, thur, thurs / friday, fri "
    "/ saturday, sat / sunday, sun",
    "january, jan / february, feb / march, mar / april, apr / may / june, jun / july, jul "
    "/ august, aug / september, sep, sept / october, oct / november, nov / december, dec",
    "spring / summer / autumn, fall / winter",
    "i / ii / iii / iv / v / vi / vii / viii / ix / x",
)
"""Well-known scales, from lowest to highest level; synonyms are separated by commas."""

_RANKS = tuple(
    {
        synonym.strip(): rank
        for rank, level in enumerate(scale.split("/"))
        for synonym in level.split(",")
    }
    for scale in _SCALES
)
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_JOINTS = re.compile(r"[\s_-]+")


def ordered_levels(levels: Sequence[str]) -> tuple[list[str], Order]:
    """Return the levels in order, and the basis of the order.

    Numbers, and text that differs only in its numbers (`grade 2`, `grade 10`), are in numerical order;
    the levels of a well-known scale in its order; others in alphabetical order.
    """
    natural = natural_sort(levels)
    if all(parse_number(level) is not None for level in levels):
        return natural, "numbers"
    if len({_DIGITS.sub("0", casefold_level(level)) for level in levels}) == 1:
        return natural, "numbers"
    normalized = {level: _JOINTS.sub(" ", casefold_level(level)) for level in levels}
    for ranks in _RANKS:
        if all(name in ranks for name in normalized.values()):
            rank_of = {level: ranks[name] for level, name in normalized.items()}
            if len(set(rank_of.values())) == len(levels):
                return sorted(levels, key=lambda level: rank_of[level]), "scale"
    return natural, "alphabet"
