"""Deterministic ids: processing a frame twice gives the same event ids, so that subscribers can drop duplicates."""

import hashlib
import uuid

# Generated once for this project; a change would change every id.
_NAMESPACE = uuid.UUID("6f1b0c5e-0f0a-5c57-9d0c-2f8f4d0f3a11")


def frame_id(camera: str, captured_at_us: int, sequence: int) -> str:
    """Id of a frame: `captured_at_us` in microseconds since the epoch, `sequence` within one run of the camera."""
    return _uuid5(f"frame\n{camera}\n{captured_at_us}\n{sequence}")


def match_event_id(frame: str, region: tuple[int, int, int, int], schema: str) -> str:
    """Id of the match event for a region `[x, y, width, height]` of the frame with id `frame`, per schema version."""
    return _uuid5(f"match\n{frame}\n{region}\n{schema}")


def sighting_id(camera: str, product: str, first_frame: str) -> str:
    """Id of the sighting of a product that started with the frame with id `first_frame`."""
    return _uuid5(f"sighting\n{camera}\n{product}\n{first_frame}")


def sighting_event_id(sighting: str, kind: str, last_seen_frame: str, schema: str) -> str:
    """Id of a sighting event; the product was last seen in the frame with id `last_seen_frame`."""
    return _uuid5(f"sighting-event\n{sighting}\n{kind}\n{last_seen_frame}\n{schema}")


def _uuid5(name: str) -> str:
    """`str(uuid.uuid5(_NAMESPACE, name))` in half the time, as every frame needs it."""
    digest = bytearray(hashlib.sha1(_NAMESPACE.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # version 5
    digest[8] = digest[8] & 0x3F | 0x80  # variant of RFC 9562
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
