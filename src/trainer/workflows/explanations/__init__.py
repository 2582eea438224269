"""Explanations of runs: written with a run, or by `trainer explain`."""
