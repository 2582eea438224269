"""The names of the tasks, without pydantic, for commands that only read runs."""

from typing import Literal

TaskName = Literal["binary", "multiclass", "multilabel", "regression", "translate", "generate"]
