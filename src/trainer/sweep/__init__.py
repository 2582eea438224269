"""Hyperparameter search: search spaces and algorithms, halving, the journal and the study loop."""
