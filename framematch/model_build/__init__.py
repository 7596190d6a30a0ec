"""Builds Triton's model repository from a model bundle, and checks what Triton serves."""
