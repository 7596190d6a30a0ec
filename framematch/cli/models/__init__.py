"""`framematch model`: its commands."""
