"""Run all checks without reporting the same problem twice.

Group identifiers are not also reported for target leakage, row identifiers not for many categories, and
unseen categories not as drift.
"""

from __future__ import annotations

from trainer.audit.audited_table import AuditedTable
from trainer.audit.cells import (
    find_category_problems,
    find_infinite,
    find_mixed_types,
    find_placeholders,
    find_values_as_text,
)
from trainer.audit.columns import find_constant, find_empty, find_identifiers, find_redundant
from trainer.audit.drift import find_drift, find_time_order
from trainer.audit.duplicate_rows import find_duplicate_rows
from trainer.audit.findings import Finding
from trainer.audit.groups import find_group_leaks
from trainer.audit.images import find_broken_images
from trainer.audit.target_leakage import find_target_leakage
from trainer.audit.targets import (
    find_imbalance,
    find_missing_by_class,
    find_outliers,
    find_rare_classes,
)
from trainer.audit.texts import find_text_problems
from trainer.config.schema import Config

_ORDER = ("error", "warning", "note")


def audit(audited: AuditedTable, config: Config) -> list[Finding]:
    """Return all findings: errors, then warnings, then notes.

    Args:
        audited: The audited table.
        config: The config; problems that its settings handle are not reported.
    """
    group_leaks = find_group_leaks(audited)
    group_columns = _columns(group_leaks)
    mixed, as_text = find_mixed_types(audited), find_values_as_text(audited)
    text_columns = [name for name in _columns(as_text) if audited.kinds[name] == "categorical"]
    mistyped = {*_columns(mixed), *text_columns}
    identifiers = find_identifiers(audited, [*group_columns, *mistyped])
    identifier_columns = _columns(identifiers)
    constant = find_constant(audited)
    leakage = find_target_leakage(audited, group_columns)
    leaking = _columns(leakage)
    levels = find_category_problems(audited, [*group_columns, *identifier_columns, *mistyped])
    findings = [
        *find_broken_images(audited),
        *find_text_problems(audited),
        *find_duplicate_rows(audited, [*identifier_columns, *group_columns]),
        *group_leaks,
        *leakage,
        *find_infinite(audited),
        *mixed,
        *as_text,
        *identifiers,
        *find_empty(audited),
        *constant,
        *find_redundant(audited, [*leaking, *identifier_columns, *_columns(constant)]),
        *find_placeholders(audited),
        *levels,
        *find_rare_classes(audited),
        *find_imbalance(audited, weighted=config.fit.class_weight is not None),
        *find_missing_by_class(audited, leaking),
        *([] if config.loss.kind.is_robust else find_outliers(audited)),
        *find_drift(audited, [*identifier_columns, *group_columns, *_columns(levels)]),
        *find_time_order(audited),
    ]
    return sorted(findings, key=lambda finding: _ORDER.index(finding.severity))


def _columns(findings: list[Finding]) -> list[str]:
    return [name for finding in findings for name in finding.affected.columns]
