"""Changes of single products, which are searched beside a snapshot."""
