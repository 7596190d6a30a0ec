"""The sightings of the partitions that we have now: recalled when they come to us, forgotten when they go."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from framematch.core.events import MatchEvent, SightingEvent


@dataclass(frozen=True)
class Observed:
    """A frame's events."""

    events: Sequence[MatchEvent]
    sightings: Sequence[SightingEvent] = ()


class Sightings:
    """Not in force yet."""

    def observe(self, events: Sequence[MatchEvent]) -> Observed:
        """The events as they are."""
        return Observed(events)

    async def recall(self, positions: Mapping[TopicPartition, int | None]) -> None:
        """Nothing."""

    def forget(self) -> None:
        """Nothing."""

    def of_silent_cameras(self, partitions: Iterable[TopicPartition]) -> list[SightingEvent]:
        """Nothing."""
        del partitions
        return []
