"""The resources of the API, a router each."""

from fastapi import APIRouter

from framematch.api.routes import health, products, reference_images

ROUTERS: tuple[APIRouter, ...] = (health.router, products.router, reference_images.router)
"""In the order of the document. Their routes have whole paths: they are included without a prefix."""
