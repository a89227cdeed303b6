"""Where representatives live: one rehearsal buffer per file."""
