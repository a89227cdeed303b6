"""Who else reads the records: one tracker per file."""
