"""Long-running operations: documents in MongoDB, each run by a process of its own."""
