"""The ground floor: messages, topics, settings, errors, logging, metrics, health, lifecycle and GPU figures."""
