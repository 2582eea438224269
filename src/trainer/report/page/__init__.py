"""The report page of a run, of several runs or of a sweep, as HTML or Markdown.

run directory ─ `run_content` ─► RunContent ─ sections ─► Page ─ `html` | `markdown` ─► text

The sections of a run are in `overview`, `training`, `metrics`, `classification`, `regression`,
`explanation`, `inputs` and `provenance`, those of several runs in `run_comparison`, of a sweep in
`sweep`. They consist of the blocks in `content`; plots are drawn by `figures`, the only module that uses
matplotlib.
"""

from trainer.report.page.figures import import_matplotlib
from trainer.report.page.writing import write_page, write_sweep_page

__all__ = ["import_matplotlib", "write_page", "write_sweep_page"]
