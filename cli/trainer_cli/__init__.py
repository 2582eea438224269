"""The `trainer` command: one module per command; `main` turns errors into messages and exit codes."""
