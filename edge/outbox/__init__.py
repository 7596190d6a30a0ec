"""Frames on their way to Kafka: in flight, or on disk while the broker is away."""
