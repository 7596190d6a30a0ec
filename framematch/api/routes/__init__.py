"""The resources of the API, a router each."""

from fastapi import APIRouter

from framematch.api.routes import (
    api_keys,
    archived_events,
    audit_log,
    cameras,
    document,
    events,
    health,
    match,
    operations,
    products,
    reference_images,
    search,
    seed,
    snapshots,
    status,
)

ROUTERS: tuple[APIRouter, ...] = (
    match.router,
    search.router,
    products.router,
    reference_images.router,
    snapshots.router,
    operations.router,
    archived_events.router,
    cameras.router,
    events.router,
    status.router,
    api_keys.router,
    audit_log.router,
    health.router,
    document.router,
    seed.router,
)
"""In the order of the document. Their routes have whole paths: they are included without a prefix."""
