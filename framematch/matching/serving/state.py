"""What follows from a swap of snapshots: metadata are read again, metrics and /readyz say what is served."""

import asyncio

from framematch.core.health import Health
from framematch.matching.enrich import MetadataCache
from framematch.matching.serving.metrics import SnapshotMetrics
from framematch.matching.serving.slot import Refusal, Served, SnapshotName

HEALTH_PART = "snapshot"


class ServingState:
    """The `SwapListener` of a service; `changed` is set when there is something new to tell others."""

    def __init__(self, metadata: MetadataCache, metrics: SnapshotMetrics, health: Health) -> None:
        self.changed = asyncio.Event()
        self._metadata = metadata
        self._metrics = metrics
        self._health = health
        self._refusals: dict[SnapshotName, Refusal] = {}

    def swapped(self, name: SnapshotName, old: Served, new: Served, took_s: float) -> None:
        """Called when another snapshot, or the same with newer changes, is served."""
        self.changed.set()
        if name != "active" or new is None:
            return
        self._metrics.delta.set(new.delta)
        if old is not None and old.manifest.id == new.manifest.id:
            changes = new.changes.changes.values()
            self._metadata.expire(change.product_id for change in changes if change.number > old.delta)
        else:
            self._metadata.expire()
            self._metrics.info.clear()
            self._metrics.info.labels(new.manifest.id).set(1)
            self._health.set_ready(HEALTH_PART)
            self._show_refusals()
            if old is not None:
                self._metrics.swap_seconds.observe(took_s)

    def refused(self, name: SnapshotName, refusal: Refusal | None) -> None:
        """Called when what a name points to cannot be served, and with None when that is over."""
        self.changed.set()
        self._refusals.pop(name, None)
        if refusal is not None:
            self._refusals[name] = refusal
        self._metrics.refused.labels(name).set(refusal is not None)
        self._show_refusals()

    def _show_refusals(self) -> None:
        self._health.set_note(HEALTH_PART, "; ".join(map(_note, self._refusals, self._refusals.values())) or None)


def _note(name: SnapshotName, refusal: Refusal) -> str:
    which = "the active snapshot" if name == "active" else "the shadow"
    return f"{which} {refusal.snapshot} is refused: {refusal.reason}"
