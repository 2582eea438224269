"""The learning tasks: one stateless object per task, one file each.

`get_task_kind` returns the object of a name. Its methods define the form of targets and predictions; its
`rules` (`trainer.config.task_rules`) are the same as data. `trainer.workflows.task.Task` is the task of
one run: a fitted target, a head, a loss, metrics and decisions.
"""
