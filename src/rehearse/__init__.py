"""Data-parallel continual learning with distributed rehearsal buffers."""

__version__ = "0.1.0"
