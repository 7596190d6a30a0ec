"""The sightings of the partitions that a consumer has."""
