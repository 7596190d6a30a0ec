"""Decides frames that Kafka still holds again, and compares with what was published. Nothing here publishes."""
