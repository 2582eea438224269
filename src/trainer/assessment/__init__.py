"""Assessment of a run's predictions: decisions, intervals, baselines, calibration, slices.

Predictions and the table go in, findings come out. Imports no TensorFlow and reads no files.

    decisions        threshold, temperature and interval widths, chosen on the validation rows
    findings         everything that `findings.json` contains, except the summary sentence
"""
