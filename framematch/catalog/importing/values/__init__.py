"""Reads cells of foreign tables: money, article numbers, HTML, guards of spreadsheets."""
