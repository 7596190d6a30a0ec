"""What runs in a camera's own process: from its source to JPEGs with regions."""
