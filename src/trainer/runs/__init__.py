"""Run directories: layout, atomic writes, checkpoints, locks, manifests and logs."""
