"""The encoding of columns as NumPy code, which reads the arrays of `trainer.export.numpy_arrays`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.data.token_columns import UNKNOWN
from trainer.export.numpy_arrays import Tree
from trainer.inputs import CATEGORIES, FEATURES, IMAGE, TERMS, TOKENS

_PUT_NUMBERS = {
    "": '''def put_numbers(x, values, p):
    """Clip, impute and scale numbers (rows, k), NaN where missing, into columns of x."""
    missing = np.isnan(values)
''',
    "bins": """    for i, bins in p.get("bins", {}).items():
        edges, means = bins["edges"], bins["means"]
        position = np.interp(values[:, int(i)], edges, np.arange(len(edges)))
        shares = np.clip(position[:, None] - np.arange(len(means)), 0, 1) - means
        x[:, bins["at"] : bins["at"] + len(means)] = np.where(missing[:, [int(i)]], 0, shares)
""",
    "scaled": """    values = np.where(missing, p["fill"], np.clip(values, p["lower"], p["upper"]))
    values = (values - p["center"]) / p["divisor"]
""",
    "grids": """    for i, grid in p.get("grids", {}).items():
        values[:, int(i)] = np.interp(values[:, int(i)], *grid)
""",
    "bound": """    if "bound" in p:
        values = values / np.hypot(1, values / p["bound"])
""",
    "end": """    x[:, p["at"]] = values
""",
    "marked": """    if "marked" in p:
        x[:, p["marks_at"]] = missing[:, p["marked"]]
""",
}  # fmt: skip
_SECONDS = '''def seconds(cells):
    """Return dates as seconds since 1970 (UTC); numbers are returned as they are, None becomes NaN."""
    cells = np.asarray(cells).reshape(-1)
    if cells.dtype.kind in "fiu":
        return cells.astype(np.float64)
    stamps = np.array(cells.tolist(), "datetime64[us]")
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e6)
'''
_DATE = {
    "": '''def put_date(x, moments, p):
    """Write the parts of dates, in seconds since 1970 and NaN where missing, to columns of x."""
    known = ~np.isnan(moments)
    micros = np.where(known, np.round(moments * 1e6), 0).astype(np.int64)
    stamps, day = micros.astype("datetime64[us]"), 86_400_000_000
''',
    "yearday": """    months = stamps.astype("datetime64[M]")
    month = months.astype(np.int64) % 12
    starts = np.array([0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335])
    yearday = starts[month] + (stamps.astype("datetime64[D]") - months).astype(np.int64)
""",
    "month": """    month = stamps.astype("datetime64[M]").astype(np.int64) % 12
""",
    "numbers": """    if "numbers" in p:
        parts = {PARTS}
        values = np.stack([parts[name] for name in p["numbers"]["parts"]], axis=1)
        put_numbers(x, np.where(known[:, None], values, np.nan), p["numbers"])
""",
    "cycles": """    cycles = {"week": (micros - 4 * day) / (7 * day), "day": micros / day}
    years = stamps.astype("datetime64[Y]")
    length = (years + 1).astype("datetime64[us]") - years.astype("datetime64[us]")
    cycles["year"] = (stamps - years.astype("datetime64[us]")) / length
    for name, position in cycles.items():
        if name in p:
            angle = 2 * np.pi * np.mod(position, 1)
            x[:, p[name]] = np.where(known, np.sin(angle), 0)
            x[:, p[name] + 1] = np.where(known, np.cos(angle), 0)
""",
    "calendar": """    for name, value in {VALUES}.items():
        if name in p:
            hits = (value[:, None] == p[name]["values"]) & known[:, None]
            x[:, p[name]["at"] : p[name]["at"] + hits.shape[1]] = hits
""",
    "days": """    if "days" in p:
        days, table = p["days"]["known"], p["days"]["table"]
        place = np.minimum(np.searchsorted(days, micros // day), len(days) - 1)
        place = np.where(known & (days[place] == micros // day), place, len(days))
        x[:, p["days"]["at"] : p["days"]["at"] + table.shape[1]] = table[place]
""",
}  # fmt: skip
_TEXT_OF = '''def text(cell, p):
    """Return a cell as the text of a category: 3.0 is "3", None and NaN are missing."""
    if cell is None or cell != cell:
        return str(p["missing"])
    if isinstance(cell, (bool, np.bool_)):
        return str(cell).lower()
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        cell = int(cell)
'''
_LOWER = """    if "lower" in p:
        return "".join(c.lower() if c.isascii() else c for c in str(cell))
"""
_RAW_NUMBERS = '''def raw_numbers(columns, names):
    """Return numbers as (rows, k) with NaN where missing, and which rows have an infinite one."""
    values = np.stack([np.array(columns[n], np.float64).reshape(-1) for n in names], axis=1)
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values), infinite.any(axis=1)
'''


class ColumnsCode:
    """The functions that encode columns, of which only those parts are written that are needed.

    Args:
        trees: The arrays of each preprocessing.
    """

    def __init__(self, trees: Sequence[Tree]) -> None:
        self._trees = trees
        self._dates = [date for tree in trees for date in tree.get("dates", {}).values()]
        self._numbers = [tree["numbers"] for tree in (*trees, *self._dates) if "numbers" in tree]
        self._categories = [
            category for tree in trees for category in tree.get("categories", {}).values()
        ]

    def functions(self) -> Iterator[str]:
        """Yield the code of each function."""
        if self._has("numbers") or self._has("booleans"):
            yield _RAW_NUMBERS
        if self._numbers:
            yield "".join(
                text
                for name, text in _PUT_NUMBERS.items()
                if name in ("", "scaled", "end") or any(name in p for p in self._numbers)
            )
        if self._dates:
            yield _SECONDS
            yield self._date()
        if self._categories:
            lower = any("lower" in category for category in self._categories)
            yield f"{_TEXT_OF}{_LOWER if lower else ''}    return str(cell).strip()\n"
        yield "\n".join(self._encode()) + "\n"

    def _date(self) -> str:
        parts = {str(part) for p in self._dates if "numbers" in p for part in p["numbers"]["parts"]}
        used = {name for p in self._dates for name in p}
        lines = [_DATE[""]]
        if "yearday" in parts:
            lines.append(_DATE["yearday"])
        elif "month" in used:
            lines.append(_DATE["month"])
        if parts:
            values = {"elapsed": '(micros - p["origin"]) / day', "yearday": "yearday"}
            code = ", ".join(f'"{name}": {values[name]}' for name in sorted(parts))
            lines.append(_DATE["numbers"].replace("{PARTS}", f"{{{code}}}"))
        if used & {"year", "week", "day"}:
            lines.append(_DATE["cycles"])
        calendar = {
            "weekday": "(micros - 4 * day) // day % 7",
            "month": "month",
            "hour": "micros // 3_600_000_000 % 24",
        }
        code = ", ".join(f'"{name}": {text}' for name, text in calendar.items() if name in used)
        if code:
            lines.append(_DATE["calendar"].replace("{VALUES}", f"{{{code}}}"))
        if "days" in used:
            lines.append(_DATE["days"])
        return "".join(lines)

    def _has(self, name: str) -> bool:
        return any(name in tree for tree in self._trees)

    def _encode(self) -> Iterator[str]:
        """Yield the lines of the function that encodes the columns of a preprocessing."""
        yield "def encode(columns, rows, p):"
        yield '    """Return the inputs of a network, and which rows have values unseen in training."""'
        yield '    x, unseen = np.zeros((rows, p["width"]), np.float32), np.zeros(rows, bool)'
        if self._has("numbers"):
            yield '    if "numbers" in p:'
            yield '        values, infinite = raw_numbers(columns, p["numbers"]["inputs"])'
            yield "        unseen |= infinite"
            yield '        put_numbers(x, values, p["numbers"])'
        if self._has("booleans"):
            yield from self._encode_booleans()
        if self._dates:
            yield '    for date in p.get("dates", {}).values():'
            yield '        moments = seconds(columns[str(date["input"])])'
            yield "        unseen |= np.isinf(moments)"
            yield "        put_date(x, np.where(np.isinf(moments), np.nan, moments), date)"
        if any("id_at" in category for category in self._categories):
            yield '    ids = np.zeros((rows, p["ids"]), np.int64)'
        if self._categories:
            yield from self._encode_categories()
        inputs = [f'"{FEATURES}": x']
        if any("id_at" in category for category in self._categories):
            inputs.append(f'"{CATEGORIES}": ids')
        yield f"    inputs = {{{', '.join(inputs)}}}"
        if self._has("texts"):
            yield from _encode_texts()
        if self._has("tokens"):
            yield f'    inputs["{TOKENS}"] = tokens = np.asarray(columns[str(p["tokens"]["input"])])'
            yield f"    unseen |= tokens.max(axis=1) == {UNKNOWN}"
        if self._has("image"):
            yield f'    inputs["{IMAGE}"] = np.asarray(columns[str(p["image"]["input"])], np.float32)'
        yield "    return inputs, unseen"

    def _encode_booleans(self) -> Iterator[str]:
        yield '    if "booleans" in p:'
        yield '        flags, names = p["booleans"], p["booleans"]["inputs"]'
        yield "        values, infinite = raw_numbers(columns, names)"
        yield "        missing = (values != 0) & (values != 1)"
        yield "        unseen |= infinite | (missing & ~np.isnan(values)).any(axis=1)"
        yield '        x[:, flags["at"]] = np.where(missing, flags["fill"], values)'
        yield '        x[:, flags["marks_at"]] = missing[:, flags["marked"]]'

    def _encode_categories(self) -> Iterator[str]:
        kinds = {name for category in self._categories for name in category}
        yield '    for category in p.get("categories", {}).values():'
        yield '        cells = np.asarray(columns[str(category["input"])], object).reshape(-1)'
        yield '        known, levels = category["known"], int(category["levels"])'
        yield "        number = [known.get(text(cell, category), levels) for cell in cells]"
        yield "        number = np.array(number, np.int64)"
        yield "        unseen |= number >= levels"
        if "one_hot_at" in kinds:
            yield '        if "one_hot_at" in category:'
            yield '            code = category["codes"][number]'
            yield "            hits = np.flatnonzero(code >= 0)"
            yield '            x[hits, category["one_hot_at"] + code[hits]] = 1'
        if "id_at" in kinds:
            yield '        if "id_at" in category:'
            yield '            ids[:, category["id_at"]] = category["codes"][number] + 1'
        if "table" in kinds:
            yield '        if "table" in category:'
            yield '            table, start = category["table"], int(category["table_at"])'
            yield "            x[:, start : start + table.shape[1]] = table[number]"


def _encode_texts() -> Iterator[str]:
    yield "    terms = []"
    yield '    for name, first in zip(p["texts"]["inputs"], p["texts"]["first"]):'
    yield "        pairs = np.array(columns[str(name)], np.float32)"
    yield "        unseen |= pairs[:, 0, 0] < 0"
    yield "        ids = np.maximum(pairs[..., 0], 0)"
    yield "        pairs[..., 0] = np.where(ids > 0, ids + first, 0)"
    yield "        terms.append(pairs)"
    yield f'    inputs["{TERMS}"] = np.concatenate(terms, axis=1)'
