"""Serving: exported runs over HTTP, where they come from, and what is counted of their inputs."""
