"""The `data` section: what is read, what is predicted, how rows are split, cleaned and encoded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from trainer.config.sections import Fold, Section, ValueName

ColumnKind = Literal["numeric", "categorical", "boolean", "datetime"]
TaskName = Literal["binary", "multiclass", "multilabel", "regression"]
TargetScale = Literal["auto", "standard", "log", "power", "none"]
Scale = Literal["standard", "minmax", "robust", "quantile", "none"]
NumericImpute = Literal["drop", "mean", "median", "constant", "most_frequent"]
CategoricalImpute = Literal["drop", "separate_level", "constant", "most_frequent"]
Encode = Literal["onehot", "ordinal", "embedding"]
SplitBy = Literal["auto", "random", "stratified", "group", "time", "column", "hash"]
Scalar = str | int | float | bool
DatePart = Literal["elapsed", "year", "week", "day"]
DateParts = Annotated[list[DatePart], Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Column = Annotated[str, ValueName("a column name", "column names")]
Files = Annotated[str, ValueName("a path", "paths")]
Character = Annotated[
    str, Field(min_length=1, max_length=1), ValueName("one character", "single characters")
]


def _character(value: str) -> str:
    """One character; a tab and a backslash may be spelled out, as a shell or YAML may leave them."""
    value = {"tab": "\t", "\\t": "\t", "\\\\": "\\"}.get(value, value)
    if len(value) != 1:
        raise ValueError("expected one character")
    return value


Separator = Annotated[
    str,
    Field(min_length=1, max_length=3),
    AfterValidator(_character),
    ValueName("one character, or tab", "single characters"),
]
Escape = Annotated[
    str,
    Field(min_length=1, max_length=2),
    AfterValidator(_character),
    ValueName("one character", "single characters"),
]


class NamedSources(Section):
    """Named files for each split, in place of `split`."""

    train: Files | Annotated[list[Files], Field(min_length=1)]
    """Files of the training rows."""
    validation: Files | Annotated[list[Files], Field(min_length=1)] | None = None
    """Files of the validation rows; without them `split.validation` of the training rows
    is taken."""
    test: Files | Annotated[list[Files], Field(min_length=1)] | None = None
    """Files of the test rows; without them nothing is tested."""


class Csv(Section):
    """How CSV files are written."""

    header: bool = True
    """Whether the first line of each file names the columns; false: it is a row like the others."""
    names: Annotated[list[Column], Field(min_length=1)] | None = None
    """Names for all columns, in their order, in place of those in the header; unset, those in the
    header, or column_1, column_2 and so on without one."""
    separator: Separator = ","
    """The character between two fields; `tab` or `\\t` is a tab, `' '` any run of blanks and tabs.
    Where it is a comma, files named `.tsv` or `.tab` are read with a tab."""
    quote: Character = '"'
    """The character around a field that holds separators or line ends."""
    escape: Escape | None = None
    """The character before a quote or a separator that belongs to the text, often a backslash; a field
    that is a backslash and N is then missing. Unset, a quote in a quoted field is doubled."""
    comment: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """Lines that begin with this text are skipped, for instance `'#'`; unset, none are."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Lines at the beginning of each file, before the header, that are skipped."""
    decimal_comma: bool = False
    """Numbers are written 3,14, and 1.234 means 1234. Where the separator is a comma, such numbers are
    in quotes."""
    encoding: Literal["utf-8", "latin-1", "windows-1252", "utf-16"] = "utf-8"
    """The encoding of the text."""
    null_values: list[str] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
    """Fields that mean a missing value, after blanks around them are taken off. An empty field always
    does."""


class Features(Section):
    """Which columns are features: all but target, weight and split columns, unless stated."""

    include: Annotated[list[Column], Field(min_length=1)] | None = None
    """Only these columns; shell patterns such as `pixel_*` are allowed."""
    exclude: list[Column] = []
    """Not these columns; shell patterns are allowed."""


class Numeric(Section):
    """How numeric columns are filled and scaled. All statistics are those of the training rows."""

    impute: NumericImpute = "median"
    """What takes the place of a missing value; `drop` leaves the row out of training."""
    constant: float = 0.0
    """The value that `impute: constant` uses."""
    indicator: bool = False
    """Add a 0/1 column that says where a value was missing, to columns that miss one in training."""
    scale: Scale = "standard"
    """standard: mean 0, deviation 1. minmax: to [0, 1]. robust: median 0, interquartile range 1
    (deviation 1 where the quartiles are equal). quantile: ranks mapped to a normal distribution, by
    up to 1,000 quantiles."""
    smooth_clip: Annotated[float, Field(gt=0)] | None = None
    """After scaling, x / sqrt(1 + (x / smooth_clip)²): bounds unusual values without a kink."""


class Categorical(Section):
    """How categorical columns become numbers. Levels are those of the training rows."""

    encode: Encode = "onehot"
    """onehot: one 0/1 column a level, all 0 for an unseen value. ordinal: one column, levels in
    order, scaled to [0, 1], an unseen value one step below 0; the order is that of
    `data.columns.X.levels`, else of numbers, else of a well-known scale (low, medium, high), else of
    the alphabet. embedding: a learnt vector a level,
    and one that stays as it started for unseen values."""
    dimension: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Length of an embedding; unset, min(50, round(1.6 · levels^0.56))."""
    min_count: Count = 1
    """Levels with fewer training rows are merged into one level, `(rare)`."""
    max_levels: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Only this many of the most frequent levels are kept; others are merged into `(rare)`."""
    impute: CategoricalImpute = "separate_level"
    """What takes the place of a missing value; `separate_level` is a level `(missing)`, where training
    rows miss some."""
    constant: str = "missing"
    """The level that `impute: constant` uses."""
    unknown: Literal["separate_level", "rare"] = "separate_level"
    """A value not seen in training: an own level (see `encode`), or `(rare)` where there is
    one."""
    ignore_case: bool = False
    """Values that differ in case only (`Yes`, `YES`) are one level, under its most frequent spelling.
    Blanks around values never count, nor do non-breaking blanks and the encoding of accents."""


class Datetime(Section):
    """How dates and times become numbers."""

    parts: DateParts = [
        "elapsed",
        "year",
        "week",
        "day",
    ]
    """elapsed: days since the earliest training row's, filled and scaled like a number. year, week,
    day: the place in that cycle as a sine and a cosine; a cycle that does not vary in training is
    left out."""
    format: str | None = None
    """The format of dates written as text (`%d.%m.%Y`). Unset, ISO 8601 or the one format that all
    training rows fit; where several fit, because no day is above 12, the column stays text and `fit` and
    `check` name the candidates."""


class ColumnSettings(Section):
    """Settings of one column, over those of its kind."""

    kind: ColumnKind | None = None
    """The kind of the column, in place of the inferred one."""
    impute: NumericImpute | CategoricalImpute | None = None
    """As `data.numeric.impute` or `data.categorical.impute`."""
    constant: float | str | None = None
    """The value that `impute: constant` uses."""
    indicator: bool | None = None
    """As `data.numeric.indicator`."""
    scale: Scale | None = None
    """As `data.numeric.scale`."""
    smooth_clip: Annotated[float, Field(gt=0)] | None = None
    """As `data.numeric.smooth_clip`."""
    encode: Encode | None = None
    """As `data.categorical.encode`."""
    dimension: Annotated[int, Field(ge=1, le=1024)] | None = None
    """As `data.categorical.dimension`."""
    min_count: Count | None = None
    """As `data.categorical.min_count`."""
    max_levels: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """As `data.categorical.max_levels`."""
    unknown: Literal["separate_level", "rare"] | None = None
    """As `data.categorical.unknown`."""
    levels: Annotated[list[Scalar], Field(min_length=1)] | None = None
    """The levels in their order (`[low, medium, high]`); the column is then categorical. One that no
    training row has is kept; a training value that is not among them is an error."""
    ignore_case: bool | None = None
    """As `data.categorical.ignore_case`; of the target: classes that differ in case only are one."""
    parts: DateParts | None = None
    """As `data.datetime.parts`."""
    format: str | None = None
    """As `data.datetime.format`; it makes text a column of dates."""
    decimal: Literal["point", "comma"] | None = None
    """How numbers written as text are read. point: 1,234.5. comma: 1.234,5. Blanks and apostrophes
    group thousands in both; a currency, a percent sign or a unit is dropped; (5) is -5. It makes text a
    column of numbers. Unset, the training rows decide whether it is one and which mark it has, and `fit`
    and `check` say what they assumed."""


class Outliers(Section):
    """Numeric values far from the others, by the statistics of the training rows."""

    method: Literal["iqr", "zscore"] = "iqr"
    """iqr: outside [q1 - factor · (q3 - q1), q3 + factor · (q3 - q1)]. zscore: further than factor
    standard deviations from the mean. A column of which the quartiles (or all values) are equal has
    none."""
    factor: Annotated[float, Field(gt=0)] = 3.0
    """How far is too far."""
    action: Literal["drop", "clip"] = "clip"
    """clip: the value is moved to the bound, in every row. drop: the row is left out of
    training."""
    columns: Annotated[list[Column], Field(min_length=1)] | None = None
    """Only these columns; unset, every numeric column."""


class Clean(Section):
    """What is taken out. Validation, test and prediction rows are never dropped but for a missing
    target or as duplicates: a model is judged on every row it is asked about.
    """

    missing_target: Literal["drop", "error"] = "drop"
    """What happens to rows without a target."""
    duplicates: Literal["keep", "drop"] = "keep"
    """drop: of rows that are equal in all features and the target, one is kept, a training row
    first."""
    outliers: Outliers | None = None
    """What happens to outliers; unset, nothing."""


class Split(Section):
    """Which rows train, validate and test; fractions are of all rows."""

    test: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """The share of test rows; 0 for none."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """The share of validation rows; 0 for none."""
    by: SplitBy = "auto"
    """random. stratified: each class keeps its share. group: rows that agree in `column` stay
    together. time: by `column`, the latest rows are tested. column: `column` says train,
    validation or test. hash: by a hash of `column`, or of the whole row; group and hash assignments
    stay when rows are added. auto: stratified for classes, random for numbers."""
    column: Column | None = None
    """The column that group, time, column and hash look at. It is a feature only where
    `features.include` names it. By time it holds numbers or dates, in ISO 8601 or as
    `columns.NAME.format` says."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """What random, stratified, group and hash draw with; unset, the config's `seed`. With it, runs that
    differ in `seed`, so in start and order of the rows, have the same splits."""
    train_on_validation: bool = False
    """Split as without it, then train on the validation rows too: nothing is validated, and the test
    rows stay those they were. What `trainer best --refit` does."""
    fold: Fold | None = None
    """As '2/5': the rows that are not tested are cut into five folds by the same rule, the second
    validates, the others train; `validation` does not count. Folds differ by one row at most; by group
    by one group; by hash they are about equal, and stay when rows are added. By time the rows are cut
    into six parts, the first of which only trains; a fold trains on the rows before it, and those later
    than the fold are dropped. Not by column, nor where files of validation rows are named."""


class Data(Section):
    """What is read, what is predicted, how rows are split, cleaned and encoded."""

    source: Files | Annotated[list[Files], Field(min_length=1)] | NamedSources
    """CSV, Parquet, NDJSON, Arrow IPC or NPZ: a file, a glob, a list, or named splits. Paths are
    relative to the config file; `~` and `${VARIABLE}` are expanded. Text files may be packed: `.csv.gz`,
    `.csv.zst`, or `.csv.zip` with one file in it."""
    format: Literal["auto", "csv", "parquet", "ndjson", "arrow", "npz"] = "auto"
    """The format of the files; auto: from their names."""
    csv: Csv = Csv()
    target: Column | Annotated[list[Column], Field(min_length=1)]
    """The column to predict; several yes/no columns or lists of labels (`target_separator`) make a
    multi-label task, several numbers a regression with several outputs."""
    task: Literal["auto"] | TaskName = "auto"
    """What is predicted; auto: from the values of the target in the training rows. Words are classes,
    numbers with fractions are numbers; whole numbers are classes when there are only two, or at
    most 20 and one to ten rows; several columns are yes/no or numbers."""
    positive: Scalar | None = None
    """The positive one of two classes; unset: yes, true, 1, positive or + where there is one, else the
    rarer one."""
    target_separator: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """The text between the labels in a cell of the target, as `|` in red|blue: each row has any
    number of labels, and the task is multilabel. A cell without a value has none. Lists in Parquet,
    Arrow and NDJSON, and cells such as ["red", "blue"], need no separator."""
    target_scale: TargetScale | dict[Column, TargetScale] = "auto"
    """How a number is scaled for training; predictions, their intervals and metrics are always in the
    target's unit. standard: mean 0, deviation 1. log: its logarithm, standardised, for numbers above 0
    that span orders of magnitude; predictions are above 0, those of a typical (median) row, and
    intervals grow with them. power: the same for numbers that can be 0 or negative, by the Yeo-Johnson
    transform that makes the training rows most like a normal distribution. none: as it is. auto:
    standard for a linear head, none for other heads and for losses of counts and of percentages.
    Of several target columns each can have its own: `{price: log, area: standard}`."""
    features: Features = Features()
    weight: Column | None = None
    """The column with the weight of each row, in the loss and in metrics."""
    split: Split = Split()
    clean: Clean = Clean()
    numeric: Numeric = Numeric()
    categorical: Categorical = Categorical()
    datetime: Datetime = Datetime()
    columns: dict[str, ColumnSettings] = {}
    """Settings of single columns, by name."""


def class_text(value: str | float) -> str:
    """A class as text: true and false in small letters, 1.0 as 1."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
