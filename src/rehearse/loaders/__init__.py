"""How samples reach a rank: one loader per file."""
