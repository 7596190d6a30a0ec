"""Writes Triton's model repository, for a CPU or a GPU."""
