"""The tracks of one camera, and the sighting events that each frame causes. No I/O."""

from collections.abc import Sequence
from typing import Any

from framematch.core.events import EndReason, MatchEvent, SightingEvent, SightingLink
from framematch.core.newest import NewestIds
from framematch.core.settings import SightingSettings
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import US_PER_S
from framematch.matching.continuity import Shown, clearest, shown_product
from framematch.matching.same_thing import assigned
from framematch.matching.track import Track, advance, restored
from framematch.matching.votes import PLAIN_RULES, VoteRules

_REMEMBERED_FRAMES = 128  # an edge that was killed sends fewer of a camera again
_MAX_TRACKS = 256  # a frame has no more regions, unless the settings allow it


class CameraTracks:
    """A track for each thing in front of one camera.

    `partition` is the camera's in the frames topic; `last_frame_s` is when its last frame was added, by our clock.
    """

    def __init__(self, settings: SightingSettings, partition: int, last_frame_s: float) -> None:
        self.partition = partition
        self.last_frame_s = last_frame_s
        self._start_frames = settings.start_frames
        self._gap_us = round(settings.gap_s * US_PER_S)
        self._update_us = round(settings.update_s * US_PER_S)
        self._tracks: dict[str, Track] = {}
        self._recent_frames = NewestIds(_REMEMBERED_FRAMES)

    @property
    def open_sightings(self) -> int:
        """How many sightings are open."""
        return sum(track.confirmed for track in self._tracks.values())

    def add(self, events: Sequence[MatchEvent], rules: VoteRules) -> tuple[list[MatchEvent], list[SightingEvent]]:
        """Add one frame: its events with the state of their tracks, and the sighting events that it causes.

        A frame that was added before changes nothing; its events link the sightings of their products.

        Args:
            events: all of the frame, in any order.
            rules: how its decisions vote.

        Raises:
            ValueError: an event contains an invalid time.
        """
        frame = events[0].frame
        if frame.id in self._recent_frames:
            return [_linked(event, self._sighting_of(event)) for event in events], []
        at_us = from_rfc3339(frame.arrived_at)
        changes = self._end_unseen(at_us)
        linked = list(events)
        for before, shown in self._things(Shown.by(events)):
            after = advance(before, shown, at_us, rules, self._start_frames)
            kept = after if after and self._keep(after) else None
            for one in shown:
                linked[one.number] = _linked(one.event, kept)
            if kept is not None:
                changes += self._changes(before, kept)
        self._recent_frames.add(frame.id)
        return linked, changes

    def restore(self, events: Sequence[MatchEvent]) -> None:
        """Add one frame as it was published. A frame that was added before changes nothing.

        A match without the state of a track was published by a consumer that did not count votes: it votes.

        Raises:
            ValueError: an event contains an invalid time.
        """
        frame = events[0].frame
        if frame.id in self._recent_frames:
            return
        at_us = from_rfc3339(frame.arrived_at)
        self._end_unseen(at_us)
        with_state: dict[str, list[Shown]] = {}
        stateless = []
        for one in Shown.by(events):
            if link := _state(one.event):
                with_state.setdefault(link.id, []).append(one)
            elif one.matched:
                stateless.append(one)
        for key, shown in with_state.items():
            if link := _state(clearest(shown).event):
                self._keep(restored(self._tracks.get(key), shown, link, at_us))
        for before, shown in self._things(stateless):
            after = advance(before, shown, at_us, PLAIN_RULES, None)
            if after is not None:
                self._keep(after)
        self._recent_frames.add(frame.id)

    def remove_ended(self, ended: SightingEvent) -> None:
        """Remove the sighting that this event ends, unless it was seen again since."""
        track = self._tracks.get(ended.sighting)
        if track and track.event_id("ended") == ended.id:
            del self._tracks[ended.sighting]

    def end_all(self, reason: EndReason) -> list[SightingEvent]:
        """The end events of all open sightings."""
        return [track.event("ended", reason) for track in self._tracks.values() if track.confirmed]

    def _things(self, shown: Sequence[Shown]) -> list[tuple[Track | None, list[Shown]]]:
        """The things that a frame shows: the track of each, None for a new one, and its regions."""
        things: dict[tuple[str | None, str | None], tuple[Track | None, list[Shown]]] = {}
        for one, track in zip(shown, assigned(shown, self._tracks.values(), self._recent_frames.last), strict=True):
            key = (track.id, None) if track else (None, one.product)
            things.setdefault(key, (track, []))[1].append(one)
        return list(things.values())

    def _changes(self, before: Track | None, after: Track) -> list[SightingEvent]:
        """The event of what a frame changed of a track."""
        if after.confirmed and not (before and before.confirmed):
            return [after.event("started")]
        if before is None or not before.confirmed:
            return []
        if after.changed_from is not None or self._periods(after) > self._periods(before):
            return [after.event("updated")]
        return []

    def _keep(self, track: Track) -> bool:
        """Remember a track; False when there are too many, and all of them are sightings."""
        if track.id not in self._tracks and len(self._tracks) >= _MAX_TRACKS:
            unconfirmed = (other for other in self._tracks.values() if not other.confirmed)
            oldest = min(unconfirmed, key=lambda other: (other.last_seen_at_us, other.id), default=None)
            if oldest is None:
                return False
            del self._tracks[oldest.id]
        self._tracks[track.id] = track
        return True

    def _sighting_of(self, event: MatchEvent) -> Track | None:
        """The sighting of the product that the event shows."""
        shown = shown_product(event)
        found = [track for track in self._tracks.values() if track.confirmed and track.product.id == shown]
        return max(found, key=lambda track: (track.last_seen_at_us, track.id), default=None)

    def _end_unseen(self, at_us: int) -> list[SightingEvent]:
        # A clock that was set back by more than the gap ends a track too: its real length is unknown.
        unseen = [track for track in self._tracks.values() if abs(at_us - track.last_seen_at_us) >= self._gap_us]
        for track in unseen:
            del self._tracks[track.id]
        return [track.event("ended", "gap") for track in unseen if track.confirmed]

    def _periods(self, track: Track) -> int:
        """How many periods of `update_s` the track has lasted."""
        return (track.last_seen_at_us - track.started_at_us) // self._update_us


def _state(event: MatchEvent) -> SightingLink | None:
    return event.sighting or event.tentative


def _linked(event: MatchEvent, track: Track | None) -> MatchEvent:
    """The event with the state of its track. Without one it needs no sketch."""
    if track is None:
        return event if event.sketch is None else _with(event, sketch=None)
    return _with(event, sighting=track.link()) if track.confirmed else _with(event, tentative=track.link())


def _with(event: MatchEvent, **changes: Any) -> MatchEvent:
    """`dataclasses.replace` without its look at each field, as every region needs it."""
    return MatchEvent(**(vars(event) | changes))
