"""How ranks talk: one back-end per file."""
