"""Experiment tracking with TensorBoard and MLflow, without TensorFlow."""
