"""`framematch catalog`: the commands about snapshots."""
