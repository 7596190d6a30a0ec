"""The top layer: the command `framematch`."""
