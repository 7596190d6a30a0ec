"""Kafka: clients set up for this project, the topics, and what is wrong when a broker does not answer."""
