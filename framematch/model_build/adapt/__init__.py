"""Adapts a bundle to labelled photos: a linear map behind the image tower that keeps what tells products apart."""
