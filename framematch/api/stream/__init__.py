"""GET /v1/events/stream: one reader of Kafka and one ring of events in memory, which all clients follow."""
