"""Writes the model repository that Triton serves, for a CPU or a GPU."""
