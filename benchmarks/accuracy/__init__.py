"""How often decisions are right, and whether the stated error rates hold."""
