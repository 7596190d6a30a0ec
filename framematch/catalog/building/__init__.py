"""From the products in MongoDB to a snapshot."""
