"""Generate Python code that encodes a row like the fitted preprocessing, for `example_code`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from trainer.data.categorical import BooleanColumn, CategoricalColumn
from trainer.data.datetimes import CalendarPart, DatetimeColumn
from trainer.data.images import ImageColumn
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Preprocessing
from trainer.data.target_means import SMOOTHING
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import TokenColumn
from trainer.report.example_texts import text_functions


class UsedColumns:
    """The columns of a run by kind."""

    def __init__(self, networks: Sequence[Preprocessing]) -> None:
        columns = [column for network in networks for column in network.columns]
        self.dates = [column for column in columns if isinstance(column, DatetimeColumn)]
        self.levels = [column for column in columns if isinstance(column, CategoricalColumn)]
        self.booleans = [column for column in columns if isinstance(column, BooleanColumn)]
        self.images = [column for column in columns if isinstance(column, ImageColumn)]
        self.plain = [column for column in columns if isinstance(column, NumericColumn)]
        self.numbers = [*self.plain, *(part for date in self.dates for part in date.numbers)]
        self.texts = [column for column in columns if isinstance(column, TextColumn)]
        self.tokens = [column for column in columns if isinstance(column, TokenColumn)]
        others = len(self.images) + len(self.texts) + len(self.tokens)
        self.has_features = not columns or others < len(columns)

    @property
    def is_affine(self) -> bool:
        """Whether numbers are only imputed, shifted and scaled, which needs no function."""
        return len(self.numbers) == len(self.plain) and not any(
            column.outliers is not None
            or column.quantiles is not None
            or column.smooth_clip is not None
            or column.indicator
            or column.piecewise is not None
            for column in self.plain
        )

    @property
    def has_target_means(self) -> bool:
        return any(column.target_means is not None for column in self.levels)

    @property
    def encodings(self) -> set[str]:
        return {column.encode for column in self.levels}


def encoding_functions(used: UsedColumns) -> Iterator[str]:
    """Yield the lines of the functions that encode the columns in use."""
    parts = (
        _scaled_function(used),
        _level_code_function(used),
        _target_means_functions(used),
        _dated_function(used),
        _pixels_function(used),
    )
    functions = [lines for lines in map(list, parts) if lines]
    functions += text_functions(used.texts, used.tokens)
    for lines in functions:
        yield from ("", *lines, "")
    if functions:
        yield ""


def _scaled_function(used: UsedColumns) -> Iterator[str]:
    """Impute, clip and scale a number like `trainer.data.numeric`."""
    if not used.numbers or used.is_affine:
        return
    yield "def scaled(column, value):"
    yield '    x = column["fill"] if value is None else value'
    if any(
        column.outliers is not None and column.outliers.action == "clip" for column in used.numbers
    ):
        yield '    bounds = column["outliers"]'
        yield '    if value is not None and bounds is not None and bounds["action"] == "clip":'
        yield '        x = min(max(x, bounds["lower"]), bounds["upper"])'
    yield '    x = (x - column["center"]) / column["divisor"]'
    if any(column.quantiles is not None for column in used.numbers):
        yield '    if column["quantiles"] is not None:'
        yield '        x = np.interp(x, column["quantiles"]["values"], column["quantiles"]["scores"])'
    if any(column.smooth_clip is not None for column in used.numbers):
        yield '    if column["smooth_clip"] is not None:'
        yield '        x = x / np.hypot(1, x / column["smooth_clip"])'
    inputs = "[x]"
    if any(column.indicator for column in used.numbers):
        inputs = '[x, float(value is None)] if column["indicator"] else [x]'
    if all(column.piecewise is None for column in used.numbers):
        yield f"    return {inputs}"
        return
    yield f"    inputs = {inputs}"
    yield '    if "piecewise" in column:'
    yield '        edges, means = column["piecewise"]["edges"], column["piecewise"]["means"]'
    yield "        place = None if value is None else np.interp(value, edges, range(len(edges)))"
    yield "        for t, mean in enumerate(means):"
    yield "            inputs.append(0 if value is None else np.clip(place - t, 0, 1) - mean)"
    yield "    return inputs"


def _level_code_function(used: UsedColumns) -> Iterator[str]:
    """Return the code of a level like `trainer.data.categorical.level_codes`."""
    if not used.levels:
        return
    folds = any(column.ignore_case for column in used.levels)
    yield "def level_code(column, value):"
    yield '    level = column["fill"] if value is None else value'
    yield '    levels = column["levels"]'
    if folds:
        yield '    if column.get("ignore_case") and level is not None:'
        yield "        level, levels = level.casefold(), [name.casefold() for name in levels]"
    yield "    if level in levels:"
    yield "        return levels.index(level)"
    if any(column.rare for column in used.levels):
        yield '    if column["rare"]:'
        yield '        merged, to_rare = column["merged"], column["unknown"] == "rare"'
        if folds:
            yield '        if column.get("ignore_case"):'
            yield "            merged = [name.casefold() for name in merged]"
        yield "        if level in merged or (to_rare and value is not None):"
        yield "            return len(levels)"
    if any(column.has_missing_level for column in used.levels):
        yield '    if value is None and column["has_missing_level"]:'
        yield '        return len(levels) + (column["rare"] > 0)'
    yield "    return -1"


def _target_means_functions(used: UsedColumns) -> Iterator[str]:
    """Encode a level or day by the target like `trainer.data.target_means`."""
    if used.has_target_means:
        yield "def distinct_level(column, value):"
        yield '    level, levels = column["fill"] if value is None else value, column["levels"]'
        yield '    levels = levels + column["merged"]'
        yield '    if column.get("ignore_case") and level is not None:'
        yield "        level, levels = level.casefold(), [name.casefold() for name in levels]"
        yield '    if value is None and column["has_missing_level"]:'
        yield "        return len(levels)"
        yield "    return levels.index(level) if level in levels else None"
        yield ""
        yield ""
    if used.has_target_means or any(column.dates is not None for column in used.dates):
        yield "def target_mean(means, level):"
        yield '    prior, n, total = np.array(means["prior"]), 0, 0'
        yield "    if level is not None:"
        yield '        n = np.sum(means["rows"], axis=0)[level]'
        yield '        total = np.sum(means["sums"], axis=1)[:, level]'
        yield f"    mean = (total + {SMOOTHING:g} * prior) / (n + {SMOOTHING:g})"
        yield '    count = (np.log1p(n) - means["rows_center"]) / means["rows_scale"]'
        yield '    return [*(mean - prior) / means["scale"], count]'


def _dated_function(used: UsedColumns) -> Iterator[str]:
    """Return days since the origin, and cycles, like `trainer.data.datetimes`."""
    if not used.dates:
        return
    yield "def date_features(column, value):"
    yield '    time = None if value is None else np.datetime64(value, "us")'
    yield "    x = []"
    if any(column.elapsed is not None for column in used.dates):
        yield '    if column["elapsed"] is not None:'
        yield '        origin, day = np.datetime64(column["origin"], "us"), np.timedelta64(1, "D")'
        yield "        days = None if time is None else (time - origin) / day"
        yield '        x += scaled(column["elapsed"], days)'
    if any(column.yearday is not None for column in used.dates):
        # In the year 2000, a leap year, so that a calendar date has the same number in every year.
        yield '    if "yearday" in column:'
        yield "        day = None if time is None else time.item().replace(year=2000)"
        yield "        days = None if day is None else day.timetuple().tm_yday - 1"
        yield '        x += scaled(column["yearday"], days)'
    cycles = {cycle for column in used.dates for cycle in column.cycles}
    if cycles:
        yield '    for cycle in column["cycles"]:'
        yield "        if time is None:"
        yield "            x += [0, 0]"
        yield "            continue"
        for index, cycle in enumerate(cycle for cycle in _CYCLES if cycle in cycles):
            yield f'        {"if" if index == 0 else "elif"} cycle == "{cycle}":'
            yield from (f"            {line}" for line in _CYCLES[cycle])
        yield "        angle = 2 * np.pi * ((time - start) / (end - start))"
        yield "        x += [np.sin(angle), np.cos(angle)]"
    yield from _calendar_lines({item.part for column in used.dates for item in column.calendar})
    if any(column.dates is not None for column in used.dates):
        yield '    if "dates" in column:'
        yield '        days, day = column["dates"]["days"], None'
        yield "        if time is not None:"
        yield '            day = int(time.astype("datetime64[D]").astype(int))'
        yield "        level = days.index(day) if day in days else None"
        yield '        x += target_mean(column["dates"]["means"], level)'
    yield "    return x"


def _pixels_function(used: UsedColumns) -> Iterator[str]:
    """Decode an image like `trainer.data.image_decoding`, except one of 16 bits per channel."""
    if not used.images:
        return
    column = used.images[0]
    mode = "L" if column.channels == 1 else "RGB"
    target = 2 * max(column.height, column.width, column.resize or 0)
    yield "def pixels(column, path):"
    yield "    image = Image.open(path)"
    yield f"    if min(image.size) > {target}:"
    yield f'        image.draft("{mode}", ({target}, {target}))'
    yield "    if image.has_transparency_data:"
    yield '        white = Image.new("RGBA", image.size, "white")'
    yield '        image = Image.alpha_composite(white, image.convert("RGBA"))'
    yield f'    image = ImageOps.exif_transpose(image.convert("{mode}"))'
    yield '    height, width = column["height"], column["width"]'
    box = ""
    if column.resize is not None:
        box = ", box=box"
        yield '    scale = min(image.size) / column["resize"]'
        yield "    left = (image.width - width * scale) / 2"
        yield "    top = (image.height - height * scale) / 2"
        yield "    box = (left, top, left + width * scale, top + height * scale)"
    yield "    bilinear = Image.Resampling.BILINEAR"
    yield f"    image = image.resize((width, height), bilinear{box}, reducing_gap=2)"
    yield '    return np.asarray(image).reshape(height, width, column["channels"])'


def _calendar_lines(parts: Collection[CalendarPart]) -> Iterator[str]:
    if not parts:
        return
    yield '    for calendar in column.get("calendar", []):'
    yield "        if time is None:"
    yield '            x += [0] * len(calendar["values"])'
    yield "            continue"
    for index, part in enumerate(part for part in _CALENDAR if part in parts):
        yield f'        {"if" if index == 0 else "elif"} calendar["part"] == "{part}":'
        yield f"            number = {_CALENDAR[part]}"
    yield '        x += [float(number == value) for value in calendar["values"]]'


_CALENDAR: Mapping[CalendarPart, str] = {
    "weekday": "time.item().weekday()",
    "month": "time.item().month - 1",
    "hour": "time.item().hour",
}
_CYCLES = {
    "year": (
        'year = time.astype("datetime64[Y]")',
        'start, end = year.astype("datetime64[us]"), (year + 1).astype("datetime64[us]")',
    ),
    "week": (
        'monday = np.datetime64("1970-01-05", "us")',
        'start = time - (time - monday) % np.timedelta64(7, "D")',
        'end = start + np.timedelta64(7, "D")',
    ),
    "day": (
        'start = time.astype("datetime64[D]").astype("datetime64[us]")',
        'end = start + np.timedelta64(1, "D")',
    ),
}


_CODES = 'codes = len(column["levels"]) + (column["rare"] > 0) + column["has_missing_level"]'
_MEANS = (
    'if "target_means" in column:',
    '    x += target_mean(column["target_means"], distinct_level(column, value))',
)


def encoding_branches(used: UsedColumns) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield a condition and its code for each kind of column in use."""
    if used.plain:
        lines = ["x += scaled(column, value)"]
        if used.is_affine:
            lines = [
                'value = column["fill"] if value is None else value',
                'x += [(value - column["center"]) / column["divisor"]]',
            ]
        yield 'column["kind"] == "numeric"', tuple(lines)
    if used.booleans:
        lines = ['x += [float(column["fill"] if value is None else value)]']
        if any(column.has_missing_level for column in used.booleans):
            lines = [
                'if column["has_missing_level"]:',
                "    x += [float(value is True), float(value is None)]",
                "else:",
                f"    {lines[0]}",
            ]
        yield 'column["kind"] == "boolean"', tuple(lines)
    if used.dates:
        yield 'column["kind"] == "datetime"', ("x += date_features(column, value)",)
    if used.images:
        yield 'column["kind"] == "image"', ("image = pixels(column, value)",)
    if used.texts:
        count = 'sum(len(table["terms"]) for table in column["tables"])'
        lines = ["terms += text_terms(column, value, first)", f"first += {count}"]
        yield 'column["kind"] == "text"', tuple(lines)
    if used.tokens:
        yield 'column["kind"] == "tokens"', ("tokens = token_ids(column, value)",)
    if "onehot" in used.encodings:
        codes = 'len(column["features"])'
        lines = [f"x += [float(level_code(column, value) == code) for code in range({codes})]"]
        if used.has_target_means:
            lines = [_CODES, lines[0].replace(codes, "codes"), *_MEANS]
        yield 'column.get("encode") == "onehot"', tuple(lines)
    if "ordinal" in used.encodings:
        lines = [_CODES, "x += [level_code(column, value) / (codes - 1)]"]
        lines += _MEANS if used.has_target_means else ()
        yield 'column.get("encode") == "ordinal"', tuple(lines)
    if "embedding" in used.encodings:
        yield 'column.get("encode") == "embedding"', ("ids += [level_code(column, value) + 1]",)
