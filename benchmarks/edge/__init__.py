"""The edge: what it costs, and how fast it is."""
