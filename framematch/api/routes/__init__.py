"""The resources of the API, a router each."""

from fastapi import APIRouter

from framematch.api.routes import events, health

ROUTERS: tuple[APIRouter, ...] = (events.router, health.router)
"""In the order of the document. Their routes have whole paths: they are included without a prefix."""
