"""Sightings of the partitions that a consumer owns."""
