"""framematch: cameras in, product matches out."""
