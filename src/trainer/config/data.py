"""The `data` section: source, target, splits, cleaning and encoding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from trainer.config.file_formats import FileFormat
from trainer.config.images import Image
from trainer.config.sections import Fold, Section, ValueName
from trainer.config.text import MAX_TERMS, Analyzer, NgramLengths, Text
from trainer.config.tokens import Tokens
from trainer.task_names import TaskName

ColumnKind = Literal["numeric", "categorical", "boolean", "datetime", "image", "text", "tokens"]
TargetScale = Literal["auto", "standard", "log", "power", "none"]
Scale = Literal["standard", "minmax", "robust", "quantile", "none"]
NumericImpute = Literal["drop", "mean", "median", "constant", "most_frequent"]
CategoricalImpute = Literal["drop", "separate_level", "constant", "most_frequent"]
Encode = Literal["onehot", "ordinal", "embedding"]
SplitBy = Literal["auto", "random", "stratified", "group", "time", "column", "hash"]
Scalar = str | int | float | bool
DatePart = Literal["elapsed", "yearday", "year", "week", "day", "weekday", "month", "hour", "date"]
DateParts = Annotated[list[DatePart], Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
PiecewiseBins = Annotated[int, Field(ge=2, le=1000)]
Column = Annotated[str, ValueName("a column name", "column names")]
Files = Annotated[str, ValueName("a path", "paths")]
Character = Annotated[
    str, Field(min_length=1, max_length=1), ValueName("one character", "single characters")
]


def _character(value: str) -> str:
    """Return one character; a tab or a backslash can be escaped, as shells and YAML keep the escape."""
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
    """Files of each split, instead of `split`."""

    train: Files | Annotated[list[Files], Field(min_length=1)]
    """Files of the training rows."""
    validation: Files | Annotated[list[Files], Field(min_length=1)] | None = None
    """Files of the validation rows; if unset, the fraction `split.validation` of the training rows."""
    test: Files | Annotated[list[Files], Field(min_length=1)] | None = None
    """Files of the test rows; if unset, there are no test rows."""


class Csv(Section):
    """Format of CSV files; `encoding` and `names` also apply to parallel text files."""

    header: bool = True
    """Whether the first line of each file contains the column names."""
    names: Annotated[list[Column], Field(min_length=1)] | None = None
    """Names of all columns in order, instead of those in the header; if unset, the names in the header,
    or column_1, column_2, … without a header."""
    separator: Separator = ","
    """The field delimiter; `tab` or `\\t` is a tab, `' '` is any run of spaces and tabs. If it is a
    comma, `.tsv` and `.tab` files are read with a tab."""
    quote: Character = '"'
    """Quote character of fields that contain separators or line breaks."""
    escape: Escape | None = None
    """Escape character of quotes and separators in a field, often a backslash; \\N is then a missing
    value. If unset, quotes in a quoted field are doubled."""
    comment: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """Prefix of comment lines, which are skipped, for example `'#'`; if unset, there are none."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Number of lines to skip at the start of each file, before the header."""
    decimal_comma: bool = False
    """Numbers have a decimal comma: 3,14; 1.234 means 1234. If the separator is a comma, such
    numbers must be quoted."""
    encoding: Literal["utf-8", "latin-1", "windows-1252", "utf-16"] = "utf-8"
    """Text encoding."""
    null_values: list[str] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
    """Values that are read as missing, after surrounding whitespace is stripped. An empty field
    always is."""


class Features(Section):
    """Which columns are features; by default all except the target, weight and split columns."""

    include: Annotated[list[Column], Field(min_length=1)] | None = None
    """Use only these columns; wildcards such as `pixel_*` are allowed."""
    exclude: list[Column] = []
    """Do not use these columns; wildcards are allowed."""


class Numeric(Section):
    """Imputation and scaling of numeric columns, with statistics of the training rows."""

    impute: NumericImpute = "median"
    """Replacement of missing values; `drop` excludes the row from training."""
    constant: float = 0.0
    """Fill value of `impute: constant`."""
    indicator: bool = False
    """Add a 0/1 column that marks missing values, for columns with missing values in training."""
    scale: Scale = "standard"
    """standard: mean 0, standard deviation 1. minmax: to [0, 1]. robust: median 0, interquartile range 1
    (standard deviation 1 if the quartiles are equal). quantile: mapped to a normal distribution by up to
    1,000 quantiles."""
    smooth_clip: Annotated[float, Field(gt=0)] | None = None
    """Smooth clipping after scaling: x / sqrt(1 + (x / smooth_clip)²)."""
    piecewise_bins: PiecewiseBins | None = None
    """Add a piecewise-linear encoding, in addition to the scaled value: an input for each of this many
    bins between quantiles of the training values, which rises from 0 to 1 within its bin and is
    constant outside, minus its training mean; 0 for a missing value. Equal quantiles are merged; a
    column with fewer than two bins left has none. If unset, there are none."""


class Categorical(Section):
    """Encoding of categorical columns. Categories (levels) are the distinct training values."""

    encode: Encode = "onehot"
    """onehot: one 0/1 column for each category, all 0 for an unseen value. ordinal: one column, with
    the categories in order scaled to [0, 1] and an unseen value one step below 0; the order is that of
    `data.columns.X.levels`, else numeric, else of a well-known scale (low, medium, high), else
    alphabetical. embedding: a learned vector for each category, an untrained one for unseen values."""
    dimension: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Dimension of an embedding; if unset, min(50, round(1.6 · categories^0.56))."""
    min_count: Count = 1
    """Minimum number of training rows of a category; less frequent ones are merged into `(rare)`."""
    max_levels: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Maximum number of categories; less frequent ones are merged into `(rare)`."""
    impute: CategoricalImpute = "separate_level"
    """Replacement of missing values; `separate_level` adds a category `(missing)` if training rows have
    missing values, `drop` excludes the row from training."""
    constant: str = "missing"
    """Fill value of `impute: constant`."""
    unknown: Literal["separate_level", "rare"] = "separate_level"
    """How values not seen in training are encoded: separately (see `encode`), or as `(rare)` if there is
    such a category."""
    ignore_case: bool = False
    """Merge values that differ in case only (`Yes`, `YES`) into their most frequent spelling.
    Surrounding whitespace, non-breaking spaces and the Unicode form of accents are always ignored."""
    target_mean: bool = False
    """Also encode each category, including those merged into `(rare)`, by the mean target of its n
    training rows, (sum + 10 · mean of all) / (n + 10), and by log(1 + n), both standardized. There is a
    mean for each class if there are more than two, and for each target column. Means for training rows
    are out of fold (5 folds), as they would otherwise contain the target of the row. A value not seen
    in training has the mean of all and n = 0. Omitted for a column in which less than half of the
    training rows share their category with two or more others. Not available for embeddings."""


class Datetime(Section):
    """Encoding of dates and times."""

    parts: DateParts = [
        "elapsed",
        "year",
        "week",
        "day",
    ]
    """elapsed: days since the earliest date in training, imputed and scaled like a number. yearday: the
    same for the day of the year, from 0, counted as in a leap year, so that a calendar date has the
    same number every year.
    year, week, day: sine and cosine of the position in that cycle. weekday, month, hour: a 0/1 input for
    each value in training, all 0 for others and missing dates. date: the mean target of the calendar
    day, as by `data.categorical.target_mean`. Parts that do not vary in training are omitted."""
    format: str | None = None
    """Format of dates in text columns (`%d.%m.%Y`). If unset, ISO 8601 or the one format that fits all
    training rows; if several fit, because no day is above 12, the column stays text and `fit` and
    `check` list the candidates."""


class ColumnSettings(Section):
    """Settings of one column, which override those of its kind."""

    kind: ColumnKind | None = None
    """Kind of the column, instead of the inferred one. image: paths of images, relative to the table;
    see `data.image`. text: sentences as n-grams; see `data.text`.
    tokens: sentences as sequences; see `data.tokens`."""
    impute: NumericImpute | CategoricalImpute | None = None
    """See `data.numeric.impute` and `data.categorical.impute`."""
    constant: float | str | None = None
    """Fill value of `impute: constant`."""
    indicator: bool | None = None
    """See `data.numeric.indicator`."""
    scale: Scale | None = None
    """See `data.numeric.scale`."""
    smooth_clip: Annotated[float, Field(gt=0)] | None = None
    """See `data.numeric.smooth_clip`."""
    piecewise_bins: PiecewiseBins | None = None
    """See `data.numeric.piecewise_bins`."""
    encode: Encode | None = None
    """See `data.categorical.encode`."""
    dimension: Annotated[int, Field(ge=1, le=1024)] | None = None
    """See `data.categorical.dimension`."""
    min_count: Count | None = None
    """See `data.categorical.min_count` and `data.text.min_count`."""
    max_levels: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """See `data.categorical.max_levels`."""
    unknown: Literal["separate_level", "rare"] | None = None
    """See `data.categorical.unknown`."""
    levels: Annotated[list[Scalar], Field(min_length=1)] | None = None
    """Levels in order (`[low, medium, high]`); the column is then categorical. Levels without
    training rows are kept; a training value that is not listed is an error."""
    ignore_case: bool | None = None
    """See `data.categorical.ignore_case`; for the target: merge classes that differ in case only."""
    target_mean: bool | None = None
    """See `data.categorical.target_mean`."""
    analyzer: Analyzer | None = None
    """See `data.text.analyzer`."""
    word_ngrams: NgramLengths | None = None
    """See `data.text.word_ngrams`."""
    character_ngrams: NgramLengths | None = None
    """See `data.text.character_ngrams`."""
    lowercase: bool | None = None
    """See `data.text.lowercase`."""
    sublinear: bool | None = None
    """See `data.text.sublinear`."""
    max_terms: Annotated[int, Field(ge=1, le=MAX_TERMS)] | None = None
    """See `data.text.max_terms`."""
    max_row_terms: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """See `data.text.max_row_terms`."""
    parts: DateParts | None = None
    """See `data.datetime.parts`."""
    format: str | None = None
    """See `data.datetime.format`; setting it makes a text column a date column."""
    decimal: Literal["point", "comma"] | None = None
    """Decimal mark of numbers in text columns. point: 1,234.5. comma: 1.234,5. Spaces and
    apostrophes are thousands separators in both; a currency, a percent sign or a unit is dropped;
    (5) is -5. Setting it makes a text column numeric. If unset, it is inferred from the training rows,
    and `fit` and `check` report the assumption."""


class Outliers(Section):
    """Outliers in numeric columns, by the statistics of the training rows."""

    method: Literal["iqr", "zscore"] = "iqr"
    """iqr: outside [q1 - factor · (q3 - q1), q3 + factor · (q3 - q1)]. zscore: more than factor standard
    deviations from the mean. A column whose quartiles (or all values) are equal has no outliers."""
    factor: Annotated[float, Field(gt=0)] = 3.0
    """Factor in the rule of `method`."""
    action: Literal["drop", "clip"] = "clip"
    """clip: clip values to the bounds, in all rows. drop: exclude the row from training."""
    columns: Annotated[list[Column], Field(min_length=1)] | None = None
    """Columns to check; if unset, all numeric columns."""


class Clean(Section):
    """Which rows are dropped. Validation and test rows are dropped only for a missing target or as
    duplicates, prediction rows never: a model is evaluated on all rows that it may have to predict.
    """

    missing_target: Literal["drop", "error"] = "drop"
    """How rows without a target are handled."""
    duplicates: Literal["keep", "drop"] = "keep"
    """drop: keep one of the rows that are equal in all features and the target, a training row if
    there is one."""
    outliers: Outliers | None = None
    """How outliers are handled; if unset, they are kept."""


class Split(Section):
    """Splits into training, validation and test rows; fractions are of all rows."""

    test: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Fraction of test rows; 0 for none."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Fraction of validation rows; 0 for none."""
    by: SplitBy = "auto"
    """random. stratified: with the same class frequencies in each split. group: rows with the same
    value of `column` are in the same split. time: ordered by `column`, the latest rows are the test
    set. column: `column` has the values train, validation and test. hash: by a hash of `column`, or
    of the whole row; group and hash assignments do not change when rows are added. auto: stratified
    for classes, random for numbers, by group of the same source for task: translate."""
    column: Column | None = None
    """Column used by group, time, column and hash. It is a feature only if listed in
    `features.include`. For time it has numbers or dates, in ISO 8601 or in the format
    `columns.NAME.format`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Seed of the random, stratified, group and hash splits; if unset, the config's `seed`. Set it to
    give runs with different values of `seed` the same splits."""
    train_on_validation: bool = False
    """Also train on the validation rows, without validation; the test rows stay the same. `trainer best
    --refit` sets it."""
    fold: Fold | None = None
    """'2/5': divide the rows outside the test set into five folds by the same rule; the second is the
    validation set, the others are the training set, and `validation` is ignored. Fold sizes differ by at
    most one row, by group by at most one group; by hash they are about equal and do not change when rows
    are added. By time there are six parts, and the first is only used for training; a fold is trained on
    the rows before it, and later rows are dropped. Not available by column or with named validation
    files."""


class Data(Section):
    """Source, target, splits, cleaning and encoding of the data."""

    source: Files | Annotated[list[Files], Field(min_length=1)] | NamedSources
    """CSV, Parquet, NDJSON, Arrow IPC or NPZ: a file, a glob pattern, a list, or files by split.
    Or a folder of images with a subfolder for each class: a table with the columns `path` and `label`,
    which is the target. Or parallel text files: `train.{en,fr}` is a table with the lines of train.en
    and train.fr in the columns `en` and `fr`; an empty line is a missing value. Paths are relative to
    the config file; `~` and `${VARIABLE}` are expanded. Text files may be compressed: `.csv.gz`,
    `.csv.zst`, or `.csv.zip` with one file."""
    format: Literal["auto", FileFormat] = "auto"
    """File format; auto: from the file names, folder for a folder of images, lines for parallel text
    files."""
    csv: Csv = Csv()
    target: Column | list[Column]
    """Column to predict. Several yes/no columns or lists of labels (`target_separator`) are a
    multi-label task, several numeric columns a multi-output regression. For task: generate it is
    optional: the class of each row, generated like other columns or given (`generation.condition`)."""
    task: Literal["auto"] | TaskName = "auto"
    """Learning task; auto: from the target values in the training rows. Text values are classes and
    fractional numbers are regression; integers are classes if there are only two, or at most 20 with at
    least ten rows each on average; several columns are yes/no or numbers. translate, which is never
    inferred: the target is a text, written by `model.encoder_decoder` from the one feature column, the
    source. generate, not inferred either: new rows or images like those of the data, by the networks of
    `networks`."""
    positive: Scalar | None = None
    """Positive class of a binary task; if unset: yes, true, 1, positive or + if present, else the rarer
    class."""
    target_separator: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """Separator of the labels in a target cell, such as `|` in red|blue: each row has any number of
    labels, and the task is multilabel. An empty cell has no labels. Lists in Parquet, Arrow and
    NDJSON, and cells such as ["red", "blue"], need no separator."""
    target_scale: TargetScale | dict[Column, TargetScale] = "auto"
    """Scaling of a numeric target for training; predictions, prediction intervals and metrics are
    always in the target's unit. standard: mean 0, standard deviation 1. log: standardized logarithm,
    for positive numbers that span orders of magnitude; predictions are positive, estimate the
    median, and their intervals grow with them. power: the same for numbers that can be 0 or
    negative, by the Yeo-Johnson transform with the best fit to a normal distribution. none:
    unscaled. auto: standard for a linear head, none for other heads and for count and percentage
    losses. Several target columns can have different values: `{price: log, area: standard}`."""
    features: Features = Features()
    pseudonymize: list[Column] = []
    """Columns whose values are replaced by pseudonyms when they are read, so that no file of the run
    contains them: "p" and the first 24 hexadecimal digits of the HMAC-SHA-256 of the value as text, by
    a secret key. Equal values have equal pseudonyms, and missing values stay missing. The columns are
    categorical."""
    pseudonym_key: Files | None = None
    """File with the key, 64 hexadecimal digits. The environment variable TRAINER_PSEUDONYM_KEY, if set,
    contains the key instead. New rows need the same key; the run records its fingerprint only."""
    weight: Column | None = None
    """Column with sample weights, used in the loss and in metrics."""
    split: Split = Split()
    clean: Clean = Clean()
    numeric: Numeric = Numeric()
    categorical: Categorical = Categorical()
    datetime: Datetime = Datetime()
    image: Image = Image()
    text: Text = Text()
    tokens: Tokens = Tokens()
    target_tokens: Tokens | None = None
    """Encoding of the target (task: translate); if unset, as `data.tokens`, with tokens of its own."""
    shared_vocabulary: bool = False
    """Whether source and target have the same tokens, chosen from the training rows of both (task:
    translate)."""
    columns: dict[str, ColumnSettings] = {}
    """Settings of individual columns, by name."""


def class_text(value: str | float) -> str:
    """Return a class name: true and false in lower case, 1 for 1.0."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def explicit_task(data: Data) -> TaskName:
    """Return the task of a config that sets it: texts and generation are never inferred."""
    assert data.task != "auto", "the config sets its task"
    return data.task
