"""What runs in a camera's own process: from the source to JPEGs with regions."""
