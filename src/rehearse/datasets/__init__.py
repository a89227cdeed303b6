"""Where samples come from: one dataset per file."""
