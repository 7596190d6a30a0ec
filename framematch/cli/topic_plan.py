"""Computes how many partitions and consumers a site needs, and the load on the cluster. No I/O.

kB, MB and GB are 10^3, 10^6 and 10^9 bytes. The constants are assumptions, measured where they say so.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from framematch.core.errors import UsageError

FRAME_OVERHEAD_BYTES = 600
"""Headers, key and framing of a frame: 470 bytes measured with every header."""
MATCH_BYTES = 1_500
"""A match event with its headers: 1,400 bytes measured with a product and two candidates."""
SIGHTING_BYTES = 900
SIGHTINGS_PER_CAMERA_S = 0.5
"""A product every six seconds, each with a start, an update and an end."""
LOG_BYTES = 600
LOG_EVENTS_PER_CAMERA_S = 0.1
"""What services log, where `log.topic` is on."""
DEAD_SHARE = 0.001
"""Share of the frames that become dead letters; 0 in a healthy site."""
SEGMENT_BYTES = 2**30
SEGMENT_S = 604_800.0
"""Kafka's `segment.bytes` and `segment.ms`. Only whole segments expire, so each replica has one more on disk."""

UTILISATION_MAX = 0.8
"""Of a consumer's capacity: the rest is for a backlog, so that an hour's is processed in four hours."""
CAMERAS_PER_PARTITION = 8
"""A backlog of one camera, or the retries of a frame, delay the other cameras of the partition."""
PARTITION_BYTES_PER_S = 10_000_000
"""A write rate that is easy for one partition, also while its replicas catch up."""
MIN_PARTITIONS = 12
"""Partitions can be added later, but then cameras move between them, and their order breaks once."""

CONSUMER_BYTES = 250_000_000
"""A process with its libraries, without frames and index: 200 MB measured."""
FETCH_BYTES = 2 * 4_194_304
"""Per partition: the last fetch response, and the next one."""
INDEX_ROW_BYTES = 2_200
"""512 dimensions of 4 bytes, and the row's product."""


@dataclass(frozen=True)
class Site:
    """The site to plan for. `consumer_fps` is the capacity of one consumer process, in frames per second."""

    cameras: int
    fps: float
    frame_bytes: float = 50_000.0
    frames_retention_s: float = 3_600.0
    events_retention_s: float = 604_800.0
    regions: float = 1.0
    consumer_fps: float = 200.0
    in_flight_bytes: float = 128_000_000.0
    index_rows: int = 10_000
    subscribers: int = 1
    brokers: int = 3
    replicas: int = 3

    def __post_init__(self) -> None:
        """Refuse a value that is not above 0, and more replicas than brokers, with a UsageError."""
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise UsageError(f"{name.replace('_', ' ')} must be above 0, not {value:g}")
        if self.replicas > self.brokers:
            raise UsageError(
                f"{self.brokers} brokers cannot hold {self.replicas} replicas", hint="A broker holds one at most"
            )

    @property
    def frames_per_s(self) -> float:
        """The frames per second of all cameras."""
        return self.cameras * self.fps


@dataclass(frozen=True)
class TopicLoad:
    """The write rate of a topic, and the maximum disk usage of all its replicas."""

    name: str
    partitions: int
    bytes_per_s: float
    disk_bytes: float


@dataclass(frozen=True)
class Plan:
    """What to run, and the resulting load; rates are of the whole cluster unless they are named `broker`."""

    frames_per_s: float
    partitions: int
    consumers: int
    busiest_cameras: int
    busiest_frames_per_s: float
    consumer_memory_bytes: float
    topics: tuple[TopicLoad, ...]
    in_bytes_per_s: float
    out_bytes_per_s: float
    broker_in_bytes_per_s: float
    broker_out_bytes_per_s: float
    broker_disk_bytes: float


def plan_site(site: Site) -> Plan:
    """The plan for `site`.

    Consumers: the smallest number at which the busiest one is within `UTILISATION_MAX`. Partitions: a multiple of twice
    that number, so that they are shared evenly now and after doubling, and as many as the constants above require.
    Both have only the prime factors 2 and 3, so that most other numbers of consumers share evenly too.

    Raises:
        UsageError: no number of consumers is enough, because each camera belongs to one consumer.
    """
    consumers = _consumers(site)
    partitions = _partitions(site, consumers)
    topics = tuple(_topics(site, partitions))
    written = sum(topic.bytes_per_s for topic in topics)
    frames, matches, sightings, *_ = (topic.bytes_per_s for topic in topics)
    read = frames + site.subscribers * (matches + sightings)
    copied = written * (site.replicas - 1)
    busiest = busiest_cameras(site.cameras, consumers)
    return Plan(
        frames_per_s=site.frames_per_s,
        partitions=partitions,
        consumers=consumers,
        busiest_cameras=busiest,
        busiest_frames_per_s=busiest * site.fps,
        consumer_memory_bytes=_memory(site, partitions / consumers),
        topics=topics,
        in_bytes_per_s=written,
        out_bytes_per_s=read,
        broker_in_bytes_per_s=(written + copied) / site.brokers,
        broker_out_bytes_per_s=(read + copied) / site.brokers,
        broker_disk_bytes=sum(topic.disk_bytes for topic in topics) / site.brokers,
    )


def busiest_cameras(cameras: int, consumers: int) -> int:
    """The expected number of cameras of the busiest consumer, as keys are spread by their hash.

    The number of cameras of a consumer is about normally distributed with mean and variance m = cameras / consumers;
    the expected maximum of n such numbers is at most m + sqrt(2 m ln n).
    """
    mean = cameras / consumers
    return min(cameras, math.ceil(mean + math.sqrt(2 * mean * math.log(consumers))))


def _consumers(site: Site) -> int:
    max_fps = UTILISATION_MAX * site.consumer_fps
    for number in _numbers_without_large_primes():
        if busiest_cameras(site.cameras, number) * site.fps <= max_fps:
            return number
        if number > site.cameras:
            break
    raise UsageError(
        f"{site.cameras} cameras with {site.fps:g} frames/s each cannot be shared so that no consumer gets more than "
        f"{max_fps:g} frames/s: a partition with several cameras belongs to one consumer",
        hint="Send fewer frames of each camera, or make consumers faster: a smaller model, or a faster Triton",
    )


def _partitions(site: Site, consumers: int) -> int:
    min_partitions = max(
        2 * consumers,
        MIN_PARTITIONS,
        site.brokers,
        site.cameras / CAMERAS_PER_PARTITION,
        site.frames_per_s * (site.frame_bytes + FRAME_OVERHEAD_BYTES) / PARTITION_BYTES_PER_S,
    )
    multiples = (2 * consumers * number for number in _numbers_without_large_primes())
    return next(number for number in multiples if number >= min_partitions)


def _numbers_without_large_primes() -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 9, 12, …: the numbers with only the prime factors 2 and 3."""
    return (number for number in count(1) if 6 ** number.bit_length() % number == 0)


def _topics(site: Site, partitions: int) -> Iterator[TopicLoad]:
    frames = site.frames_per_s * (site.frame_bytes + FRAME_OVERHEAD_BYTES)
    rates = {
        "frames": (partitions, frames, site.frames_retention_s),
        "matches": (partitions, site.frames_per_s * site.regions * MATCH_BYTES, site.events_retention_s),
        "sightings": (partitions, site.cameras * SIGHTINGS_PER_CAMERA_S * SIGHTING_BYTES, site.events_retention_s),
        "deadletter": (1, frames * DEAD_SHARE, site.events_retention_s),
        "logs": (1, site.cameras * LOG_EVENTS_PER_CAMERA_S * LOG_BYTES, site.events_retention_s),
    }
    for name, (number, rate, retention_s) in rates.items():
        retained = rate * retention_s + min(number * SEGMENT_BYTES, rate * SEGMENT_S)
        yield TopicLoad(name, number, rate, site.replicas * retained)


def _memory(site: Site, partitions: float) -> float:
    return CONSUMER_BYTES + site.in_flight_bytes + partitions * FETCH_BYTES + site.index_rows * INDEX_ROW_BYTES
