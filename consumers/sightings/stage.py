"""The sightings of the partitions that we have now: recalled when they come to us, forgotten when they go."""

from collections.abc import Collection, Mapping, Sequence

from aiokafka import TopicPartition

from consumers.metrics import ConsumerMetrics
from consumers.sightings.recall import recall
from consumers.stages.answers import Answer
from framematch.core.events import MatchEvent
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings, SightingSettings
from framematch.matching.sightings import Observed, SightingTracker


class Sightings:
    """Owns the tracker of one member of the consumer group."""

    def __init__(self, kafka: KafkaSettings, settings: SightingSettings, metrics: ConsumerMetrics) -> None:
        self._kafka = kafka
        self._settings = settings
        self._metrics = metrics
        self._tracker = SightingTracker(settings)

    def observe(self, events: Sequence[MatchEvent]) -> Observed:
        """All events of a frame, each with its sighting, and the sightings that the frame changes."""
        observed = self._tracker.observe(events)
        for sighting in observed.sightings:
            self._metrics.sightings.labels(sighting.kind).inc()
        return observed

    async def recall(self, positions: Mapping[TopicPartition, int | None]) -> None:
        """Take up what was open before these offsets.

        Raises:
            KafkaUnavailableError: the broker does not give us what is needed in time.
        """
        self.forget()
        committed = {partition.partition: offset for partition, offset in positions.items()}
        await recall(self._kafka, self._tracker, committed)

    def forget(self) -> None:
        """Another consumer takes them up."""
        self._tracker = SightingTracker(self._settings)

    def of_silent_cameras(self, caught_up: Collection[TopicPartition]) -> list[Answer]:
        """The ends of what was open in front of cameras that have fallen silent.

        `caught_up`: partitions of which no frame waits in Kafka or is in flight.
        """
        ended = self._tracker.end_silent({partition.partition for partition in caught_up})
        topic = Topics(self._kafka.topic_prefix).frames
        self._metrics.sightings.labels("ended").inc(len(ended))
        return [
            Answer(TopicPartition(topic, event.best.partition), event.camera.encode(), None, sightings=(event,))
            for event in ended
        ]
