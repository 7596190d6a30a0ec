"""Compares what Triton serves with embeddings that it should give."""
