"""The roof: one command, `framematch`."""
