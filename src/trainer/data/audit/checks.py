"""All checks of a table, in the order in which their findings explain each other.

A column that names groups is not told again as one that gives the target away, one that names rows not
again for its many levels, and new levels not again as drift.
"""

from __future__ import annotations

from trainer.config.schema import Config
from trainer.data.audit.cells import (
    find_infinite,
    find_levels,
    find_mixed,
    find_placeholders,
    find_text,
)
from trainer.data.audit.columns import find_constant, find_copies, find_empty, find_identifiers
from trainer.data.audit.drift import find_drift, find_time
from trainer.data.audit.findings import Finding
from trainer.data.audit.giveaways import find_giveaways
from trainer.data.audit.groups import find_group_leaks
from trainer.data.audit.rows import find_shared_rows
from trainer.data.audit.subject import Subject
from trainer.data.audit.targets import (
    find_imbalance,
    find_missing_by_class,
    find_outliers,
    find_rare_classes,
)

_ROBUST_LOSSES = ("huber", "log_cosh", "mean_absolute_error")
_ORDER = ("fault", "warning", "note")


def audit(subject: Subject, config: Config) -> list[Finding]:
    """Every finding: faults, then warnings, then notes.

    Args:
        subject: The table.
        config: The config; what it already provides for is not found again.
    """
    groups = find_group_leaks(subject)
    grouping = _columns(groups)
    mixed, written = find_mixed(subject), find_text(subject)
    texts = [name for name in _columns(written) if subject.kinds[name] == "categorical"]
    wordy = {*_columns(mixed), *texts}
    identifiers = find_identifiers(subject, [*grouping, *wordy])
    naming = _columns(identifiers)
    constant = find_constant(subject)
    giveaways = find_giveaways(subject, grouping)
    given = _columns(giveaways)
    levels = find_levels(subject, [*grouping, *naming, *wordy])
    found = [
        *find_shared_rows(subject, [*naming, *grouping]),
        *groups,
        *giveaways,
        *find_infinite(subject),
        *mixed,
        *written,
        *identifiers,
        *find_empty(subject),
        *constant,
        *find_copies(subject, [*given, *naming, *_columns(constant)]),
        *find_placeholders(subject),
        *levels,
        *find_rare_classes(subject),
        *find_imbalance(subject, weighted=config.fit.class_weight is not None),
        *find_missing_by_class(subject, given),
        *([] if config.loss.name in _ROBUST_LOSSES else find_outliers(subject)),
        *find_drift(subject, [*naming, *grouping, *_columns(levels)]),
        *find_time(subject),
    ]
    return sorted(found, key=lambda one: _ORDER.index(one.severity))


def _columns(findings: list[Finding]) -> list[str]:
    return [name for finding in findings for name in finding.columns]
