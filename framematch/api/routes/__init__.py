"""The resources of the API, a router each."""

from fastapi import APIRouter

from framematch.api.routes import health, operations, products, reference_images, snapshots

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    products.router,
    reference_images.router,
    operations.router,
    snapshots.router,
)
"""In the order of the document. Their routes have whole paths: they are included without a prefix."""
