"""Remembers the newest frames of each camera: a frame that was sent twice gives its events once."""

from cachetools import LRUCache

from framematch.core.newest import NewestIds

# An edge that was killed sends fewer frames of a camera again.
_FRAMES = 128
_CAMERAS = 2_000  # with 128 frames of each, 35 MB


class RecentFrames:
    """The frames of one assignment of partitions, with those that were published before it as far as they are restored.

    A frame has a second record when an edge was killed while Kafka was frozen: Kafka still takes what the edge had
    sent, and the next run of the edge sends it again.
    """

    def __init__(self) -> None:
        self._cameras: LRUCache[str, NewestIds] = LRUCache(_CAMERAS)

    def add(self, camera: str, frame_id: str) -> bool:
        """Add a frame; False if it is among the newest of its camera."""
        frames = self._cameras.get(camera)
        if frames is None:
            frames = self._cameras[camera] = NewestIds(_FRAMES)
        if frame_id in frames:
            return False
        frames.add(frame_id)
        return True
