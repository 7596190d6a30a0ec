"""What happens to a frame between fetch and delivery; no stage knows of Kafka's clients."""
