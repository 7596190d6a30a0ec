"""From the bytes of a picture to its pixels, with a verdict: whole, damaged, or no picture."""
