"""One module for each table that is known."""
