"""The demo: a small catalogue, rendered camera feeds with known truth, and a verdict."""
