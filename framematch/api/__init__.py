"""The REST API: match by picture, search, manage the catalogue and cameras, follow the events."""
