"""Cameras by REST: what is wanted and what edges report, joined; and the one writer of wanted cameras."""
