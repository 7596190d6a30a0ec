"""The way of a frame from Kafka to a subscriber: how long it takes, what it costs, and what it keeps in memory."""
