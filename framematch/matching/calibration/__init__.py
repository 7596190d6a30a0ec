"""Thresholds with stated error rates, from what a search finds for labelled pictures. Pure."""
