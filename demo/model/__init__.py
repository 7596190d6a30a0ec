"""The demo's own encoder: training, export and evaluation."""
