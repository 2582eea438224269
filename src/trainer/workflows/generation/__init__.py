"""Runs of task: generate: a generator and a discriminator."""
