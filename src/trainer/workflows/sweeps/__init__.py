"""Sweeps: their plan, their trials and their end."""
