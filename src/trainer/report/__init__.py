"""Results of runs and sweeps as text: terminal tables, JSON, CSV, and HTML or Markdown pages."""
