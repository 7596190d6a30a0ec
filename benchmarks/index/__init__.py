"""How fast the search for the nearest vectors is, and how much it finds."""
