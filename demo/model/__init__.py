"""The demo's own encoder: how it is trained, exported and measured."""
