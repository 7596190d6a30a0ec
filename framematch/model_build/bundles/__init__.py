"""Reads a model bundle: what its configuration says, and which files it has."""
