"""Quantises an image tower to int8, and evaluates it with pictures that were not used for calibration."""
