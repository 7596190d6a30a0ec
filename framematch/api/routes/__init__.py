"""The resources of the API, a router each."""

from fastapi import APIRouter

from framematch.api.routes import document, health, status

ROUTERS: tuple[APIRouter, ...] = (status.router, health.router, document.router)
"""In the order of the document. Their routes have whole paths: they are included without a prefix."""
