"""The resources of the API, a router each."""

from fastapi import APIRouter

from framematch.api.routes import (
    api_keys,
    archived_events,
    audit_log,
    document,
    events,
    health,
    match,
    search,
    seed,
    status,
)

ROUTERS: tuple[APIRouter, ...] = (
    match.router,
    search.router,
    archived_events.router,
    events.router,
    status.router,
    api_keys.router,
    audit_log.router,
    health.router,
    document.router,
    seed.router,
)
"""In the order of the document. Their routes have whole paths: they are included without a prefix."""
