"""Sweeps and their trials as text, for the terminal, JSON, CSV and the page."""
