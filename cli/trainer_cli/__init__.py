"""Words in, words out: the `trainer` command. One file a verb; `main` is the error boundary."""
