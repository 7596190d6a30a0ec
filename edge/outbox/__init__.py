"""Frames until Kafka has acknowledged them: in memory, or on disk while Kafka does not take them."""
