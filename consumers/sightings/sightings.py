"""The sightings in the partitions of one assignment: restored when it is opened, updated by each frame."""

from collections.abc import Collection, Mapping, Sequence

import structlog
from aiokafka import TopicPartition

from consumers.metrics import ConsumerMetrics
from consumers.sightings.recent_frames import RecentFrames
from consumers.sightings.restore import restore
from consumers.stages.results import FrameResult
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import MatchEvent
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings, SightingSettings
from framematch.matching.sightings import Observed, SightingTracker
from framematch.matching.votes import VoteRules

log = structlog.get_logger()

_ATTEMPTS = 3


class Sightings:
    """Owns the tracker of the cameras in these partitions, and remembers their newest frames."""

    def __init__(self, kafka: KafkaSettings, settings: SightingSettings, metrics: ConsumerMetrics) -> None:
        self._kafka = kafka
        self._settings = settings
        self._metrics = metrics
        self._tracker = SightingTracker(settings)
        self._attempts = 0
        self.recent_frames = RecentFrames()

    async def restore(self, offsets: Mapping[TopicPartition, int | None], counts: Mapping[str, int]) -> None:
        """Restore what was open, and the newest frames, before these offsets; call it first, and again if it fails.

        Frames that are not matched are worse than sightings that are not continued: after some attempts it goes on
        without those that were open.

        Args:
            offsets: for each partition the offset of the first frame that will be processed.
            counts: the number of partitions of each topic that exists.

        Raises:
            KafkaUnavailableError: the broker did not return what is needed in time.
        """
        self._tracker = SightingTracker(self._settings)
        self._attempts += 1
        numbered = {partition.partition: offset for partition, offset in offsets.items()}
        try:
            frames = await restore(self._kafka, self._tracker, numbered, counts)
        except KafkaUnavailableError as error:
            if self._attempts < _ATTEMPTS:
                raise
            self._tracker = SightingTracker(self._settings)
            log.warning("sightings_not_restored", error=error.message, hint=error.hint)
            return
        for frame in frames:
            self.recent_frames.add(frame.camera, frame.id)

    def observe(self, events: Sequence[MatchEvent], rules: VoteRules) -> Observed:
        """All events of a frame, each with its sighting, and the sightings that the frame changes.

        `rules`: how the decisions of its snapshot vote.
        """
        observed = self._tracker.observe(events, rules)
        for sighting in observed.sightings:
            self._metrics.sightings.labels(sighting.kind).inc()
        return observed

    def end_silent(self, caught_up: Collection[TopicPartition]) -> list[FrameResult]:
        """End the open sightings of cameras that have fallen silent.

        `caught_up`: partitions without a frame that waits in Kafka or is in flight.
        """
        ended = self._tracker.end_silent({partition.partition for partition in caught_up})
        topic = Topics(self._kafka.topic_prefix).frames
        self._metrics.sightings.labels("ended").inc(len(ended))
        return [
            FrameResult(TopicPartition(topic, event.best.partition), event.camera.encode(), None, sightings=(event,))
            for event in ended
        ]
