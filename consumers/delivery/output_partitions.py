"""Which partition an event goes to: the one with its frame's number, so that it is found there after a restart."""

from collections.abc import Callable

from framematch.core.kafka.protocols import Producer
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import Topics


class OutputPartitions:
    """Producers of frames may partition in another way than ours, so a key does not tell the frame's partition.

    Where a topic has another number of partitions than the topic of frames, its events go by their key.
    """

    def __init__(self, topics: Topics, frames_partitions: Callable[[], int | None]) -> None:
        """`frames_partitions` returns the present number; None while it is not known."""
        self._keyed_by_camera = (topics.matches, topics.sightings)
        self._frames_partitions = frames_partitions

    async def choose(self, producer: Producer, record: ProducerRecord, frame_partition: int) -> int | None:
        """The partition for `record`, which came of a frame in this partition; None: by its key.

        Raises:
            KafkaError: the topic does not exist.
        """
        if record.topic not in self._keyed_by_camera:
            return None
        count = len(await producer.partitions_for(record.topic))
        return frame_partition if count == self._frames_partitions() else None
