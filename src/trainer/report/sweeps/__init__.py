"""Sweeps as text: their trials, their best, their settings; for the terminal, JSON, CSV and the page."""
