"""Telling others of a run while it trains: TensorBoard and MLflow. No TensorFlow."""
