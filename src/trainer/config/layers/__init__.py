"""The layers of the config: one class for each kind, with its shapes and its Keras layer."""
