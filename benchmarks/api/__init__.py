"""The REST API, beside what it is built on and what it replaces."""
