"""The lowest layer: messages, Kafka, settings, errors, logging, metrics, health, lifecycle and GPU metrics."""
