"""A run as one page: facts read from its files, sections made of them, HTML or Markdown of these.

run directory ─ `facts` ─► Facts ─ sections ─► Page ─ `document` | `markdown` ─► text

The sections are in `overview`, `training`, `scores`, `classes`, `numbers`, `explanation` and
`provenance`, those of several runs in `several`, of a sweep in `sweep`; what they are made of is in
`content`. Plots are described there and drawn by `figures`, which alone knows matplotlib.
"""

from trainer.report.page.writing import write_page, write_sweep_page

__all__ = ["write_page", "write_sweep_page"]
