"""Writes the catalogue as a file that an import takes as it is."""
