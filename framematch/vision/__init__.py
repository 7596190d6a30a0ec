"""Pixels and words to embeddings: model bundles, preprocessing, Triton's client."""
