"""The data flow from Kafka to a subscriber: latency, where the time goes, and the consumer's memory."""
