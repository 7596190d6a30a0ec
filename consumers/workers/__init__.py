"""Runs several consumers as processes of one service."""
