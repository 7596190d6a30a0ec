"""The tracks of one camera, and the sighting events that each frame causes. No I/O."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from framematch.core.events import EndReason, MatchEvent, SightingEvent, SightingLink
from framematch.core.settings import SightingSettings
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import US_PER_S
from framematch.matching.track import Track, advance, shown_product

_REMEMBERED_FRAMES = 128  # an edge that was killed sends fewer of a camera again


class CameraTracks:
    """A track for each product in front of one camera.

    `partition` is the camera's in the frames topic; `last_frame_s` is when its last frame was added, by our clock.
    """

    def __init__(self, settings: SightingSettings, partition: int, last_frame_s: float) -> None:
        self.partition = partition
        self.last_frame_s = last_frame_s
        self._start_frames = settings.start_frames
        self._gap_us = round(settings.gap_s * US_PER_S)
        self._update_us = round(settings.update_s * US_PER_S)
        self._tracks: dict[str, Track] = {}
        self._recent_frames: deque[str] = deque(maxlen=_REMEMBERED_FRAMES)

    @property
    def open_sightings(self) -> int:
        """How many sightings are open."""
        return sum(track.confirmed for track in self._tracks.values())

    def add(self, events: Sequence[MatchEvent], *, confirm: bool) -> list[SightingEvent]:
        """Add one frame; returns the sighting events that it causes. A frame that was added before changes nothing.

        Args:
            events: all of the frame, in any order.
            confirm: whether a track may become a sighting.

        Raises:
            ValueError: an event contains an invalid time.
        """
        frame = events[0].frame
        if frame.id in self._recent_frames:
            return []
        at_us = from_rfc3339(frame.arrived_at)
        self._recent_frames.append(frame.id)
        changes = self._end_unseen(at_us)
        for product, event in _best_events(events).items():
            before = self._tracks.get(product)
            after = advance(before, event, at_us)
            if after is None:
                continue
            if confirm and not after.confirmed and after.frames >= self._start_frames:
                after = replace(after, confirmed=True)
                changes.append(after.event("started"))
            elif before and before.confirmed and self._periods(after) > self._periods(before):
                changes.append(after.event("updated"))
            self._tracks[product] = after
        return changes

    def link(self, event: MatchEvent) -> SightingLink | None:
        """The sighting that the event belongs to, in its present state."""
        track = self._tracks.get(shown_product(event) or "")
        return track.link() if track and track.confirmed else None

    def remove_ended(self, ended: SightingEvent) -> None:
        """Remove the sighting that this event ends, unless it was seen again since."""
        track = self._tracks.get(ended.product.id)
        if track and track.event_id("ended") == ended.id:
            del self._tracks[ended.product.id]

    def end_all(self, reason: EndReason) -> list[SightingEvent]:
        """The end events of all open sightings."""
        return [track.event("ended", reason) for track in self._tracks.values() if track.confirmed]

    def _end_unseen(self, at_us: int) -> list[SightingEvent]:
        # A clock that was set back by more than the gap ends a track too: its real length is unknown.
        unseen = [track for track in self._tracks.values() if abs(at_us - track.last_seen_at_us) >= self._gap_us]
        for track in unseen:
            del self._tracks[track.product.id]
        return [track.event("ended", "gap") for track in unseen if track.confirmed]

    def _periods(self, track: Track) -> int:
        """How many periods of `update_s` the track has lasted."""
        return (track.last_seen_at_us - track.started_at_us) // self._update_us


def _best_events(events: Sequence[MatchEvent]) -> dict[str, MatchEvent]:
    """For each product its clearest event: a match before an ambiguous one, then the highest score."""
    rising = sorted(events, key=lambda event: (event.product is not None, event.score or 0.0))
    shown = ((shown_product(event), event) for event in rising)
    return {product: event for product, event in shown if product is not None}
