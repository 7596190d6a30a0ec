"""Embeddings of pictures, which are made once for each model and kept."""
