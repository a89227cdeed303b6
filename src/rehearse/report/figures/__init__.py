"""Figures: one per file, named by the file."""
