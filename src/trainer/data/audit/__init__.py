"""The audit: faults of the data that no error message tells, found before anything is trained.

    table, splits, target ─ Subject ─► rows, groups, columns, cells, giveaways, targets, drift
        ─► findings

Everything is computed on the training rows and compared with the others; the targets of test rows are
looked at for duplicates and for the rows of each class only. Nothing is fitted that a run would use.
"""
