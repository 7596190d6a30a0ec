"""The consumer service: frames from Kafka in, match events out."""
