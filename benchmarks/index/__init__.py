"""Benchmark of the index."""
