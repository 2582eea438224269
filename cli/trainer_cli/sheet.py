"""The option --sheet of `check` and `init`: a page with examples of the images of each class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.errors import Problem, UsageError

if TYPE_CHECKING:
    from trainer.workflows.plan import RunPlan

Sheet = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        metavar="FILE.html",
        help="For images: also write a contact sheet, with examples of each class, sizes and memory.",
    ),
]


def check_sheet(path: Path | None) -> None:
    """Check the path of the sheet before doing any work.

    Raises:
        UsageError: It cannot be written.
    """
    from trainer.runs.files import parent_problem

    if path is None:
        return
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(Problem("--sheet", "a name ending in .html", f"'{path}'"))
    if path.is_dir():
        raise UsageError(Problem("--sheet", "a file", f"the directory {path}", "add a file name"))
    if (missing := parent_problem("--sheet", path)) is not None:
        raise UsageError(missing)


def write_sheet(path: Path | None, plan: RunPlan) -> None:
    """Write the sheet of a plan, if requested.

    Raises:
        UsageError: There are no images.
        StorageError: The file cannot be written.
    """
    if path is None:
        return
    if plan.dataset.preprocessing.image is None:
        found = "a table without images"
        raise UsageError(Problem("--sheet", "a column or a folder of images", found))
    from trainer.report.page.contact_sheet import contact_sheet_page
    from trainer.report.page.html import page_html
    from trainer.runs.files import write_atomically

    memory = {"encoded rows": plan.data_bytes}
    if plan.memory is not None:
        memory |= {
            "weights": plan.memory.weights,
            "gradients": plan.memory.gradients,
            "optimizer": plan.memory.optimizer,
            "activations": plan.memory.activations,
            **({"augmentation": plan.memory.augmentation} if plan.memory.augmentation else {}),
        }
    page = contact_sheet_page(plan.config.name, plan.dataset, memory)
    write_atomically(path, page_html(page).encode())
