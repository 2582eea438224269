"""The data audit: finds problems in the data, before training, that do not raise an error.

    table, splits, target ─► AuditedTable ─► checks ─► findings

Checks are computed on the training rows, which are compared with the other splits. The targets of test
rows are used only to find duplicates and to count the rows of each class. Nothing that is fitted here
is used by a run.
"""
