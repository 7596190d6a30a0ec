"""Embeds pictures and texts through Triton: preprocessing, the tokenizer, and the clients that services use."""
