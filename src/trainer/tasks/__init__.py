"""The learning tasks: one stateless object per task, one file each, and the task of a run.

    base         the interface of tasks
    registry     the object for the name of a task
    task         the task of a run: a fitted target, a head, a loss, metrics and decisions
    translation  the task of a run that translates
    evaluated    predictions or texts with their targets, and their metrics

What the tasks allow, as data, is in `trainer.config.task_rules`. Code outside this package reads these
rules or calls a task; it does not compare names of tasks.
"""
