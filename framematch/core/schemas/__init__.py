"""The published JSON Schemas of our messages, and the AsyncAPI document of the topics that they travel in."""
