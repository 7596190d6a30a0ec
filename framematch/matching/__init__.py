"""Embeddings to decisions: search, threshold and margin, metadata."""
