"""How a dataset becomes a stream of tasks: one scenario per file."""
