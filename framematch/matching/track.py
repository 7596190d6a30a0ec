"""The track of one product at one camera, which becomes a sighting when it is confirmed. Immutable values."""

from dataclasses import dataclass, replace

from framematch.core.events import (
    SIGHTING_SCHEMA,
    BestPicture,
    EndReason,
    MatchEvent,
    ProductInfo,
    SightingEvent,
    SightingKind,
    SightingLink,
)
from framematch.core.ids import sighting_event_id, sighting_id
from framematch.core.timestamps import from_rfc3339, to_rfc3339


@dataclass(frozen=True)
class Track:
    """A product's track after the last frame that showed it.

    `confirmed`: it is a sighting, whose start was published. Times are microseconds since the epoch by the edge's
    clock; `last_seen_at_us` is never before `started_at_us`, even if that clock was set back.
    """

    id: str
    camera: str
    product: ProductInfo
    started_at_us: int
    last_seen_at_us: int
    last_frame_id: str
    frames: int
    best: BestPicture
    snapshot: str
    confirmed: bool = False

    def link(self) -> SightingLink:
        """The link in a match event."""
        return SightingLink(self.id, to_rfc3339(self.started_at_us), self.frames, self.best)

    def event_id(self, kind: SightingKind) -> str:
        """Id of an event of this kind in the present state."""
        return sighting_event_id(self.id, kind, self.last_frame_id, SIGHTING_SCHEMA)

    def event(self, kind: SightingKind, reason: EndReason | None = None) -> SightingEvent:
        """A sighting event of the present state."""
        return SightingEvent(
            schema=SIGHTING_SCHEMA,
            id=self.event_id(kind),
            sighting=self.id,
            kind=kind,
            camera=self.camera,
            product=self.product,
            started_at=to_rfc3339(self.started_at_us),
            last_seen_at=to_rfc3339(self.last_seen_at_us),
            frames=self.frames,
            best=self.best,
            snapshot=self.snapshot,
            reason=reason,
        )


def shown_product(event: MatchEvent) -> str | None:
    """Id of the product that matched, or is nearest in an ambiguous decision; None when unknown."""
    if event.product is not None:
        return event.product.id
    return event.candidates[0].product_id if event.decision == "ambiguous" and event.candidates else None


def advance(before: Track | None, event: MatchEvent, at_us: int) -> Track | None:
    """The track of the event's product after its frame; None when there is none.

    A match starts a track or continues it. An ambiguous decision only keeps a confirmed one open. A published event
    contains the track's state itself.

    Args:
        before: the product's track before the frame.
        event: the frame's clearest event that shows the product.
        at_us: when the frame arrived.

    Raises:
        ValueError: the event contains an invalid time.
    """
    if event.sighting is not None:
        return _linked(before, event, event.sighting, at_us)
    if event.product is not None:
        return _matched(before, event, event.product, at_us)
    if before is None or not before.confirmed:
        return before
    return replace(
        before,
        last_seen_at_us=max(at_us, before.started_at_us),
        last_frame_id=event.frame.id,
        snapshot=event.snapshot,
    )


def _matched(before: Track | None, event: MatchEvent, product: ProductInfo, at_us: int) -> Track:
    frame = event.frame
    best = BestPicture(frame.id, frame.partition, frame.offset, event.region, event.score or 0.0)
    if before is not None:
        return replace(
            before,
            product=product,
            last_seen_at_us=max(at_us, before.started_at_us),
            last_frame_id=frame.id,
            frames=before.frames + 1,
            best=best if best.score > before.best.score else before.best,
            snapshot=event.snapshot,
        )
    return Track(
        id=sighting_id(frame.camera, product.id, frame.id),
        camera=frame.camera,
        product=product,
        started_at_us=at_us,
        last_seen_at_us=at_us,
        last_frame_id=frame.id,
        frames=1,
        best=best,
        snapshot=event.snapshot,
    )


def _linked(before: Track | None, event: MatchEvent, link: SightingLink, at_us: int) -> Track:
    product = event.product or (before.product if before else None)
    if product is None:  # its last match is older than the events that are restored
        name = shown_product(event) or ""
        product = ProductInfo(name, name)
    started_at_us = from_rfc3339(link.started_at)
    return Track(
        id=link.id,
        camera=event.frame.camera,
        product=product,
        started_at_us=started_at_us,
        last_seen_at_us=max(at_us, started_at_us),
        last_frame_id=event.frame.id,
        frames=link.frames,
        best=link.best,
        snapshot=event.snapshot,
        confirmed=True,
    )
