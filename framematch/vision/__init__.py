"""Pixels and words become embeddings: model bundles, preprocessing, Triton's model repository and its clients."""
