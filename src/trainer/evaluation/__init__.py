"""Evaluation of predictions: metrics and their intervals, baselines, slices, calibration, importance.

Everything here is numpy on arrays: no TensorFlow, no files.
"""
