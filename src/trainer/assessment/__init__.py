"""What the predictions of a run are worth: intervals, baselines, calibration, thresholds, slices.

Everything here is numpy on arrays, except the choice of columns for slices: no TensorFlow, no files.
"""
