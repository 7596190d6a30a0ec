"""The published JSON Schemas of our messages, and the AsyncAPI document of their topics."""
