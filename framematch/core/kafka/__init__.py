"""Kafka: configured clients, topics, records, and the diagnosis of connection failures."""
