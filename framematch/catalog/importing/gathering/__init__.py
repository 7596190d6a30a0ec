"""Gathers the rows of a product, and decides which of its variants a camera can tell apart."""
