from datetime import datetime
from pathlib import Path

from trainer.runs.directory import RunDirectory


def write_page(run: RunDirectory, now: datetime) -> Path:
    run.write_report("")
    return run.report
