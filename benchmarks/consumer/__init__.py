"""The consumer: how fast it is, and what faults, delivery modes and more processes do to its rate."""
