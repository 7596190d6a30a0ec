"""The consumer: how fast it is, and what faults, promises and further processes do to its rate."""
