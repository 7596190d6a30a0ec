"""Finds the nearest of many vectors: builds, opens and searches an index whose kind follows its size."""
