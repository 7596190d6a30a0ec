"""What is in front of one camera: its tracks, frame by frame, and what there is to tell of them. No I/O."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from framematch.core.events import EndReason, MatchEvent, SightingEvent, SightingLink
from framematch.core.settings import SightingSettings
from framematch.core.timestamps import from_rfc3339
from framematch.matching.track import Track, advance, shown_product

_US_PER_S = 1_000_000
_REMEMBERED_FRAMES = 128  # an edge that died sends fewer of a camera again


class Scene:
    """The products in front of one camera, each with its track.

    `partition` is that of the camera in the frames topic, `heard_at_s` when its last frame was taken in.
    """

    def __init__(self, settings: SightingSettings, partition: int, heard_at_s: float) -> None:
        self.partition = partition
        self.heard_at_s = heard_at_s
        self._start_frames = settings.start_frames
        self._gap_us = round(settings.gap_s * _US_PER_S)
        self._update_us = round(settings.update_s * _US_PER_S)
        self._tracks: dict[str, Track] = {}
        self._recent_frames: deque[str] = deque(maxlen=_REMEMBERED_FRAMES)

    @property
    def sightings(self) -> int:
        """How many are open."""
        return sum(track.confirmed for track in self._tracks.values())

    def take(self, events: Sequence[MatchEvent], *, confirm: bool) -> list[SightingEvent]:
        """What the frame of these events changes; one that was taken before changes nothing.

        Args:
            events: all of one frame, in any order.
            confirm: whether a track may become a sighting.

        Raises:
            ValueError: an event names a time that is none.
        """
        frame = events[0].frame
        if frame.id in self._recent_frames:
            return []
        at_us = from_rfc3339(frame.arrived_at)
        self._recent_frames.append(frame.id)
        told = self._end_left(at_us)
        for product, event in _clearest(events).items():
            before = self._tracks.get(product)
            after = advance(before, event, at_us)
            if after is None:
                continue
            if confirm and not after.confirmed and after.frames >= self._start_frames:
                after = replace(after, confirmed=True)
                told.append(after.event("started"))
            elif before and before.confirmed and self._periods(after) > self._periods(before):
                told.append(after.event("updated"))
            self._tracks[product] = after
        return told

    def link(self, event: MatchEvent) -> SightingLink | None:
        """The sighting that the event belongs to, as it is now."""
        track = self._tracks.get(shown_product(event) or "")
        return track.link() if track and track.confirmed else None

    def drop(self, ended: SightingEvent) -> None:
        """Forget the sighting whose end this is, unless it went on after it."""
        track = self._tracks.get(ended.product.id)
        if track and track.event_id("ended") == ended.id:
            del self._tracks[ended.product.id]

    def ends(self, reason: EndReason) -> list[SightingEvent]:
        """The ends of all that is open."""
        return [track.event("ended", reason) for track in self._tracks.values() if track.confirmed]

    def _end_left(self, at_us: int) -> list[SightingEvent]:
        # A clock that was set back by more than the gap ends a track too: nobody knows how long it really was.
        left = [track for track in self._tracks.values() if abs(at_us - track.last_seen_at_us) >= self._gap_us]
        for track in left:
            del self._tracks[track.product.id]
        return [track.event("ended", "gap") for track in left if track.confirmed]

    def _periods(self, track: Track) -> int:
        """How many times `update_s` it has been there."""
        return (track.last_seen_at_us - track.started_at_us) // self._update_us


def _clearest(events: Sequence[MatchEvent]) -> dict[str, MatchEvent]:
    """For each product the event that shows it most clearly: a match before an ambiguous one, then by score."""
    rising = sorted(events, key=lambda event: (event.product is not None, event.score or 0.0))
    shown = ((shown_product(event), event) for event in rising)
    return {product: event for product, event in shown if product is not None}
