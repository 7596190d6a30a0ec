"""From match events to sightings: when a product appears at a camera, stays and leaves. No I/O."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from framematch.core.events import MatchEvent, SightingEvent
from framematch.core.settings import SightingSettings
from framematch.matching.camera_tracks import CameraTracks
from framematch.matching.votes import PLAIN_RULES, VoteRules


@dataclass(frozen=True)
class Observed:
    """A frame's match events, each with its sighting, and the sighting events that the frame causes."""

    events: tuple[MatchEvent, ...]
    sightings: tuple[SightingEvent, ...] = ()


class SightingTracker:
    """The open sightings of all cameras in some partitions; drop it when the partitions are revoked.

    A thing that matched in `start_frames` frames, each less than `gap_s` after the one before, is a sighting once its
    frames' votes decide for a product. It ends when the camera's frames have not shown it for `gap_s`, or when the
    frames' clock has jumped by that much. Its product changes when another one leads the votes for long enough.
    Events depend on the frames alone and have the same ids after a restart; only `end_silent` uses our own clock.

    The published match events contain the state: a new tracker restores it from them.

    Args:
        settings: when `enabled` is false, there are no sightings.
        clock: monotonic, in seconds; decides when a camera is silent.
    """

    def __init__(self, settings: SightingSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._cameras: dict[str, CameraTracks] = {}

    @property
    def open_sightings(self) -> int:
        """How many sightings are open."""
        return sum(tracks.open_sightings for tracks in self._cameras.values())

    def observe(self, events: Sequence[MatchEvent], rules: VoteRules = PLAIN_RULES) -> Observed:
        """Add all match events of one frame, which vote by `rules`; call it in the order of a camera's frames.

        A frame that was added before changes nothing; its events link the sightings in their present state.
        """
        if not events or not self.settings.enabled:
            return Observed(tuple(events))
        linked, changes = self._tracks(events).add(events, rules)
        return Observed(tuple(linked), tuple(changes))

    def restore(self, events: Sequence[MatchEvent]) -> None:
        """Add all match events of one frame as they were published; causes no events.

        A sighting continues from its state in them, however long ago it started.

        Raises:
            ValueError: an event contains an invalid time.
        """
        if events and self.settings.enabled:
            self._tracks(events).restore(events)

    def restore_silence_end(self, ended: SightingEvent) -> None:
        """Apply a published end by silence, which no frame contains: it is over, unless it was seen since."""
        if ended.camera in self._cameras:
            self._cameras[ended.camera].remove_ended(ended)

    def end_silent(self, caught_up: Collection[int]) -> list[SightingEvent]:
        """End the sightings of cameras that have sent nothing for `silent_s`, and forget these cameras.

        Args:
            caught_up: partitions of the frames topic without a frame that waits in Kafka or is in flight. In others a
                camera may have sent frames that are not observed yet.
        """
        until_s = self._clock() - self.settings.silent_s
        silent = [
            camera
            for camera, tracks in self._cameras.items()
            if tracks.partition in caught_up and tracks.last_frame_s <= until_s
        ]
        return [event for camera in silent for event in self._cameras.pop(camera).end_all("silent")]

    def _tracks(self, events: Sequence[MatchEvent]) -> CameraTracks:
        """The tracks of these events' camera, marked as heard from now."""
        frame, now_s = events[0].frame, self._clock()
        tracks = self._cameras.get(frame.camera)
        if tracks is None:
            tracks = self._cameras[frame.camera] = CameraTracks(self.settings, frame.partition, now_s)
        tracks.partition, tracks.last_frame_s = frame.partition, now_s
        return tracks
