"""The published JSON Schemas of our messages."""
