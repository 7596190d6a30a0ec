"""Compares the embeddings that Triton returns with reference embeddings."""
