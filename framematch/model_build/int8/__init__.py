"""Quantises an image tower, and judges it by pictures that did not calibrate."""
