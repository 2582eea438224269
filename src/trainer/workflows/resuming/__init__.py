"""Resuming a run, and what must hold for it to be resumed."""
