"""From embeddings to decisions, product metadata and sightings."""
