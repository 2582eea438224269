"""Predictions and their metrics. Everything here is numpy on arrays: no TensorFlow, no files."""
