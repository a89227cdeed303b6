"""How forgetting is fought: one strategy per file."""
