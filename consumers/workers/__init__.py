"""Several consumer processes on one host as one service."""
