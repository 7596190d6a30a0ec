"""Keeps a sample of decided regions, which people label: these labels calibrate the decisions."""
