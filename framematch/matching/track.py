"""The track of one thing at one camera, which becomes a sighting when its votes decide. Immutable values."""

from collections.abc import Sequence
from dataclasses import dataclass

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
from framematch.matching.continuity import Shown, View, clearest, nearest, shown_product
from framematch.matching.votes import MAX_EVIDENCE, Ballot, Tally, VoteRules, clearness_of, novelty_of


@dataclass(frozen=True)
class Track:
    """A thing's track after the last frame that showed it.

    `product` is the one that leads the votes or, once `confirmed`, the one that was decided for. Times are microseconds
    since the epoch by the edge's clock; `last_seen_at_us` is never before `started_at_us`, even if that clock was set
    back. `last_frame_id` is the last frame in which it was recognised, `views` are its regions in the last frame that
    showed it at all. `changed_from` is the product that it had until that frame, if another.
    """

    id: str
    camera: str
    product: ProductInfo
    started_at_us: int
    last_seen_at_us: int
    last_frame_id: str
    best: BestPicture
    snapshot: str
    tally: Tally
    views: tuple[View, ...]
    changed_from: str | None = None

    @property
    def confirmed(self) -> bool:
        """Whether it is a sighting, whose start was published."""
        return self.tally.decided

    def link(self) -> SightingLink:
        """Its state in a match event."""
        tally = self.tally
        return SightingLink(
            id=self.id,
            started_at=to_rfc3339(self.started_at_us),
            frames=tally.frames,
            best=self.best,
            product_id=self.product.id,
            votes=dict(tally.evidence),
            frames_used=tally.weight,
            runner_up=tally.runner_up,
            changed_from=self.changed_from,
            challenge=tally.challenge,
        )

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
            frames=self.tally.frames,
            best=self.best,
            snapshot=self.snapshot,
            reason=reason,
            votes=dict(self.tally.evidence),
            frames_used=self.tally.weight,
            runner_up=self.tally.runner_up,
            changed_from=self.changed_from if kind == "updated" else None,
        )


def advance(
    before: Track | None, shown: Sequence[Shown], at_us: int, rules: VoteRules, start_frames: int | None
) -> Track | None:
    """The track after a frame; None when nothing was recognised that could start one.

    The clearest of its regions votes. A match starts a track or continues it, an ambiguous decision only keeps a
    sighting open, and an unknown product does not.

    Args:
        before: the track before the frame.
        shown: what the frame shows of its thing.
        at_us: when the frame arrived.
        rules: of the snapshot that decided.
        start_frames: how many frames must match before it becomes a sighting; None: it may not yet.
    """
    clear = clearest(shown)
    event, similarity = clear.event, None
    if before is not None:
        similarity = nearest(clear.view, before.views)
    elif event.product is not None:
        before = _new(event, event.product, at_us)
    else:
        return None
    tally = before.tally.add(_ballot(event, similarity), rules, start_frames)
    changed = tally.product != before.tally.product
    recognised = _is_recognised(event, confirmed=tally.decided)
    product, best = before.product, before.best
    if event.product is not None and event.product.id == tally.product:
        product = event.product
        if changed or (event.score or 0.0) > best.score:
            best = _picture(event)
    return Track(
        id=before.id,
        camera=before.camera,
        product=product,
        started_at_us=before.started_at_us,
        last_seen_at_us=max(at_us, before.started_at_us) if recognised else before.last_seen_at_us,
        last_frame_id=event.frame.id if recognised else before.last_frame_id,
        best=best,
        snapshot=event.snapshot,
        tally=tally,
        views=tuple([one.view for one in shown]),
        changed_from=before.product.id if changed and before.confirmed else None,
    )


def restored(before: Track | None, shown: Sequence[Shown], link: SightingLink, at_us: int) -> Track:
    """The track as it was published with these events of a frame; `link` is the state of the clearest."""
    event = clearest(shown).event
    product_id = link.product_id or shown_product(event) or ""
    started_at_us = from_rfc3339(link.started_at)
    confirmed = event.sighting is not None
    if before is None or _is_recognised(event, confirmed=confirmed):
        last_seen_at_us, last_frame_id = max(at_us, started_at_us), event.frame.id
    else:
        last_seen_at_us, last_frame_id = before.last_seen_at_us, before.last_frame_id
    return Track(
        id=link.id,
        camera=event.frame.camera,
        product=_info(product_id, event, before),
        started_at_us=started_at_us,
        last_seen_at_us=last_seen_at_us,
        last_frame_id=last_frame_id,
        best=link.best,
        snapshot=event.snapshot,
        tally=_restored_tally(link, product_id, decided=confirmed),
        views=tuple(one.view for one in shown),
        changed_from=link.changed_from,
    )


def _new(event: MatchEvent, product: ProductInfo, at_us: int) -> Track:
    frame = event.frame
    return Track(
        id=sighting_id(frame.camera, product.id, frame.id),
        camera=frame.camera,
        product=product,
        started_at_us=at_us,
        last_seen_at_us=at_us,
        last_frame_id=frame.id,
        best=_picture(event),
        snapshot=event.snapshot,
        tally=Tally(),
        views=(),
    )


def _ballot(event: MatchEvent, similarity: float | None) -> Ballot:
    return Ballot(
        scores=[(candidate.product_id, candidate.score) for candidate in event.candidates],
        threshold=event.threshold,
        matched=event.product.id if event.product else None,
        clearness=clearness_of(event.quality),
        novelty=novelty_of(similarity),
    )


def _is_recognised(event: MatchEvent, *, confirmed: bool) -> bool:
    """Whether the frame keeps the track in view."""
    return event.product is not None or (confirmed and event.decision == "ambiguous")


def _picture(event: MatchEvent) -> BestPicture:
    frame = event.frame
    return BestPicture(frame.id, frame.partition, frame.offset, event.region, event.score or 0.0)


def _info(product_id: str, event: MatchEvent, before: Track | None) -> ProductInfo:
    for known in (event.product, before.product if before else None):
        if known is not None and known.id == product_id:
            return known
    return ProductInfo(product_id, product_id)  # its last match is older than the events that are restored


def _restored_tally(link: SightingLink, product_id: str, *, decided: bool) -> Tally:
    votes = link.votes
    if not votes and link.product_id is None:  # of a consumer that did not count votes: each match had one
        return Tally(
            ((product_id, min(MAX_EVIDENCE, float(link.frames))),),
            float(link.frames),
            link.frames,
            product_id,
            decided=decided,
        )
    return Tally(tuple(votes.items()), link.frames_used, link.frames, product_id, link.challenge, decided)
