"""All checks of a table, in the order in which their findings explain each other.

A column that names groups is not told again as one that gives the target away, one that names rows not
again for its many levels, and new levels not again as drift.
"""

from __future__ import annotations

from trainer.config.schema import Config
from trainer.data.audit.audited_table import AuditedTable
from trainer.data.audit.cells import (
    find_category_problems,
    find_infinite,
    find_mixed_types,
    find_placeholders,
    find_values_as_text,
)
from trainer.data.audit.columns import find_constant, find_empty, find_identifiers, find_redundant
from trainer.data.audit.drift import find_drift, find_time_order
from trainer.data.audit.duplicate_rows import find_duplicate_rows
from trainer.data.audit.findings import Finding
from trainer.data.audit.groups import find_group_leaks
from trainer.data.audit.target_leakage import find_target_leakage
from trainer.data.audit.targets import (
    find_imbalance,
    find_missing_by_class,
    find_outliers,
    find_rare_classes,
)

_ROBUST_LOSSES = ("huber", "log_cosh", "mean_absolute_error")
_ORDER = ("fault", "warning", "note")


def audit(audited: AuditedTable, config: Config) -> list[Finding]:
    """Every finding: faults, then warnings, then notes.

    Args:
        audited: The table.
        config: The config; what it already provides for is not found again.
    """
    groups = find_group_leaks(audited)
    grouping = _columns(groups)
    mixed, written = find_mixed_types(audited), find_values_as_text(audited)
    texts = [name for name in _columns(written) if audited.kinds[name] == "categorical"]
    wordy = {*_columns(mixed), *texts}
    identifiers = find_identifiers(audited, [*grouping, *wordy])
    naming = _columns(identifiers)
    constant = find_constant(audited)
    giveaways = find_target_leakage(audited, grouping)
    given = _columns(giveaways)
    levels = find_category_problems(audited, [*grouping, *naming, *wordy])
    found = [
        *find_duplicate_rows(audited, [*naming, *grouping]),
        *groups,
        *giveaways,
        *find_infinite(audited),
        *mixed,
        *written,
        *identifiers,
        *find_empty(audited),
        *constant,
        *find_redundant(audited, [*given, *naming, *_columns(constant)]),
        *find_placeholders(audited),
        *levels,
        *find_rare_classes(audited),
        *find_imbalance(audited, weighted=config.fit.class_weight is not None),
        *find_missing_by_class(audited, given),
        *([] if config.loss.name in _ROBUST_LOSSES else find_outliers(audited)),
        *find_drift(audited, [*naming, *grouping, *_columns(levels)]),
        *find_time_order(audited),
    ]
    return sorted(found, key=lambda one: _ORDER.index(one.severity))


def _columns(findings: list[Finding]) -> list[str]:
    return [name for finding in findings for name in finding.columns]
