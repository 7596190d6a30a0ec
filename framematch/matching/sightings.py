"""Sightings: from match events, frame by frame, when a product comes, stays and leaves; of all cameras. No I/O."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from framematch.core.events import MatchEvent, SightingEvent
from framematch.core.settings import SightingSettings
from framematch.matching.scene import Scene


@dataclass(frozen=True)
class Observed:
    """A frame's events, each with the sighting that it belongs to, and what the frame changed."""

    events: tuple[MatchEvent, ...]
    sightings: tuple[SightingEvent, ...] = ()


class SightingTracker:
    """The open sightings of all cameras of one consumer.

    A product that matched in `start_frames` frames, each less than `gap_s` after the one before, is a sighting. It
    ends when the camera's frames have not shown it for `gap_s`, or a clock has jumped by so much. What is told is a
    function of the frames, and has the same ids after a restart; `silent` alone goes by our clock.

    How a consumer uses it:

    - For partitions that it is given, before their first frame: `await recall(…)` of `consumers.sightings.recall`.
    - For each answered frame, a camera's in the order of offsets: `observe`. It publishes both parts of what that
      returns; the published match events are the record from which the state is recalled.
    - About once a second: `silent`, and it publishes what that returns.
    - For partitions that are revoked: `forget_partitions`. The same, and `recall` again, when frames that were observed
      are to be answered again because their output was given up, as that of an aborted transaction.

    Args:
        settings: when `enabled` is false, nothing is ever told.
        clock: seconds of a monotonic clock, by which cameras are silent.
    """

    def __init__(self, settings: SightingSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._scenes: dict[str, Scene] = {}

    @property
    def cameras(self) -> int:
        """Of how many cameras it remembers anything."""
        return len(self._scenes)

    @property
    def sightings(self) -> int:
        """How many sightings are open."""
        return sum(scene.sightings for scene in self._scenes.values())

    def observe(self, events: Sequence[MatchEvent]) -> Observed:
        """Take in all match events of one frame, fresh from the decision, and say what they change.

        A frame that comes again changes nothing; its events name the sightings as they are now.
        """
        if not events or not self.settings.enabled:
            return Observed(tuple(events))
        scene = self._scene(events)
        told = scene.take(events, confirm=True)
        return Observed(tuple(replace(event, sighting=scene.link(event)) for event in events), tuple(told))

    def recall(self, events: Sequence[MatchEvent]) -> None:
        """Take in all match events of one frame as they were published, and tell nothing.

        A sighting goes on from what they say of it, however long ago it started.

        Raises:
            ValueError: an event names a time that is none.
        """
        if events and self.settings.enabled:
            self._scene(events).take(events, confirm=False)

    def recall_silence(self, ended: SightingEvent) -> None:
        """Take in an end by silence that was published, as no frame tells it: it is over, unless it was seen since."""
        if ended.camera in self._scenes:
            self._scenes[ended.camera].drop(ended)

    def silent(self, caught_up: Collection[int]) -> list[SightingEvent]:
        """End what is open in front of cameras that have sent nothing for `silent_s`, and forget these cameras.

        Args:
            caught_up: partitions of the frames topic whose every frame has been observed: none waits in Kafka, none is
                being answered. Of the others nobody knows whether their cameras are silent.
        """
        until_s = self._clock() - self.settings.silent_s
        gone = [
            camera
            for camera, scene in self._scenes.items()
            if scene.partition in caught_up and scene.heard_at_s <= until_s
        ]
        return [event for camera in gone for event in self._scenes.pop(camera).ends("silent")]

    def forget_partitions(self, partitions: Collection[int]) -> None:
        """Forget the cameras of these partitions of the frames topic, and tell nothing: another one takes them up."""
        self._scenes = {camera: scene for camera, scene in self._scenes.items() if scene.partition not in partitions}

    def _scene(self, events: Sequence[MatchEvent]) -> Scene:
        """The scene of the camera that these events are from, which has just been heard of."""
        frame, now_s = events[0].frame, self._clock()
        scene = self._scenes.get(frame.camera)
        if scene is None:
            scene = self._scenes[frame.camera] = Scene(self.settings, frame.partition, now_s)
        scene.partition, scene.heard_at_s = frame.partition, now_s
        return scene
