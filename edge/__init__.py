"""The edge service: camera feeds in, frames on Kafka out."""
