"""CloudEvents headers (Kafka binding, binary mode) of the records whose values are JSON messages."""

from framematch.core.events import LOG_SCHEMA, MATCH_SCHEMA, SIGHTING_SCHEMA, LogEvent, MatchEvent, SightingEvent


def event_headers(event_id: str, kind: str, camera: str, at: str) -> list[tuple[str, bytes]]:
    """Headers of a JSON event about a camera; `kind` such as `match.v1`."""
    return _cloud_event(event_id, kind, f"/framematch/cameras/{camera}", at)


def match_headers(event: MatchEvent, at: str, traceparent: str | None = None) -> list[tuple[str, bytes]]:
    """Headers of a match event created at `at` (RFC 3339)."""
    headers = event_headers(event.id, MATCH_SCHEMA, event.frame.camera, at)
    return [*headers, ("traceparent", traceparent.encode())] if traceparent else headers


def sighting_headers(event: SightingEvent, at: str) -> list[tuple[str, bytes]]:
    """Headers of a sighting event created at `at` (RFC 3339)."""
    return event_headers(event.id, SIGHTING_SCHEMA, event.camera, at)


def log_headers(event: LogEvent) -> list[tuple[str, bytes]]:
    """Headers of a log event."""
    return _cloud_event(event.id, LOG_SCHEMA, f"/framematch/services/{event.service}", event.at)


def _cloud_event(event_id: str, kind: str, source: str, at: str) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", f"framematch.{kind}".encode()),
        ("ce_time", at.encode()),
        ("content-type", b"application/json"),
    ]
