"""The edge: what it costs, how fast it is, and how soon it is back."""
