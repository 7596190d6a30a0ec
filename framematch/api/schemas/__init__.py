"""Requests and answers, as pydantic models: a module for each resource."""
