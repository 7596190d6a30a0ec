"""Observes a running consumer: GPU and Triton figures, and whether anything moves at all."""
