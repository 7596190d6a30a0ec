"""Work of many requests together: batches for the model and the index, and what becomes of it when a server is away."""
