"""Reads a bundle's ONNX graphs, checks them, and folds them into what Triton serves."""
