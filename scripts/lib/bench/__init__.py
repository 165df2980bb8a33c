"""Measurements of the whole controller against its targets (docs/benchmarks.md)."""
