"""Checks a bundle's ONNX graphs, and folds preprocessing and normalisation into them."""
