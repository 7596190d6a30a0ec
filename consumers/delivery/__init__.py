"""Publishes answers and commits offsets, at least once or exactly once."""
