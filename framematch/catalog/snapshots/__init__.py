"""Snapshots of the catalogue: what they are, where they are stored, and which of them has a name."""
