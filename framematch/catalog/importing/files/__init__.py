"""Reads catalogue files: encodings, dialects and formats, one record after the other."""
