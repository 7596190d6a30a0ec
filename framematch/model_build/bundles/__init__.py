"""Reads a model bundle: its configuration and the list of its files."""
