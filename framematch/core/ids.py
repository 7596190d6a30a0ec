"""Deterministic ids: the same frame handled twice gives the same event id, so that subscribers can drop a repeat."""

import uuid

# Made once for this project; changing it changes every id.
_NAMESPACE = uuid.UUID("6f1b0c5e-0f0a-5c57-9d0c-2f8f4d0f3a11")


def frame_id(camera: str, captured_at_us: int, sequence: int) -> str:
    """Id of one frame: `captured_at_us` in microseconds since the epoch, `sequence` of the camera's run."""
    return str(uuid.uuid5(_NAMESPACE, f"frame\n{camera}\n{captured_at_us}\n{sequence}"))


def match_event_id(frame: str, region: tuple[int, int, int, int], schema: str) -> str:
    """Id of the decision for one region `[x, y, w, h]` of the frame with id `frame`, under one schema version."""
    return str(uuid.uuid5(_NAMESPACE, f"match\n{frame}\n{region}\n{schema}"))
