"""Pools of workers, in processes on this machine or on a Ray cluster, that run work items.

    items ─► pool ─ item ─► worker ─ event ─► pool ─ reply ─► worker … ─ done ─► pool

What a work item trains is not known here: the pool gets a `Runner`, which the workers create.
"""
