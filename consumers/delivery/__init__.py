"""Publishes the results of frames and commits offsets, at least once or exactly once."""
