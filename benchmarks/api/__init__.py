"""Measures the REST API."""
