"""Every setting of every service; unknown keys are errors.

Sources by priority: command line, environment, YAML file, the local stack's state file, the defaults here. Environment
variables are `FRAMEMATCH_<SECTION>__<NAME>`, and the conventional names in `CONVENTIONAL_NAMES`.
"""

import re
from base64 import urlsafe_b64decode
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from framematch.core.settings_api import ApiSettings
from framematch.core.settings_archive import ArchiveSettings
from framematch.core.settings_edge import (
    Box,
    CameraSettings,
    Decode,
    EdgeSettings,
    Fraction,
    MaskSettings,
    Motion,
    MotionSettings,
    Point,
    Regions,
    RegionSettings,
    SpoolSettings,
    UntaggedColours,
)
from framematch.core.settings_review import ReviewSettings
from framematch.core.settings_section import Addresses, CameraId, Section
from framematch.core.settings_service import HttpSettings, LogSettings, TracingSettings

__all__ = [
    "CAMERA_SECTIONS",
    "CONVENTIONAL_NAMES",
    "RENAMED",
    "AgeSettings",
    "ApiSettings",
    "ArchiveSettings",
    "Box",
    "CameraSettings",
    "ConsumerSettings",
    "Decode",
    "EdgeSettings",
    "Fraction",
    "HttpSettings",
    "KafkaSettings",
    "LogSettings",
    "MaskSettings",
    "MatchingSettings",
    "MongoSettings",
    "Motion",
    "MotionSettings",
    "Point",
    "RegionSettings",
    "Regions",
    "ReviewSettings",
    "Settings",
    "SightingSettings",
    "SnapshotSettings",
    "SpoolSettings",
    "TracingSettings",
    "TritonSettings",
    "UntaggedColours",
]

CONVENTIONAL_NAMES = {
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
    "KAFKA_GROUP_ID": ("consumer", "group_id"),
    "MONGODB_URI": ("mongodb", "uri"),
    "TRITON_URL": ("triton", "url"),
    "TRITON_REPOSITORY_KEY": ("triton", "repository_key"),
    "RTSP_TRANSPORT": ("edge", "rtsp_transport"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("tracing", "otlp_endpoint"),
    "LOG_LEVEL": ("log", "level"),
}

RENAMED: dict[str, str] = {
    "consumer.reuse_still": "consumer.reuse_static_regions",
    "consumer.reuse_still_s": "consumer.reuse_static_regions_s",
}
"""Old setting to new one, both as docs/settings.md names them (`edge.fps`, `edge.cameras.<id>.fps`)."""

CAMERA_SECTIONS = (("edge", "cameras"), ("consumer", "cameras"))
"""The settings whose keys are camera ids."""

_CAMERAS_KEY_BYTES = 32

_TRITON_KEY = re.compile(r"[!-~]{16,}")  # sent as the value of a header


class KafkaSettings(Section):
    """The connection to Kafka, and the configuration of our topics."""

    bootstrap_servers: Addresses = Field(None, description="host:port, several separated by commas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: str | None = Field(None, description="PEM file of the brokers' authority; not set: the system's own")
    ssl_certificate_file: str | None = Field(None, description="PEM client certificate for mutual TLS")
    ssl_key_file: str | None = Field(None, description="PEM key of the client certificate")
    topic_prefix: str = Field("framematch", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    partitions: int = Field(12, ge=1, description="of topics that we create; also the maximum number of consumers")
    replication_factor: int | None = Field(
        None, ge=1, description="of topics that we create; not set: 3, or the number of brokers if that is less"
    )
    frames_retention_minutes: float = Field(60.0, gt=0)
    matches_retention_hours: float = Field(168.0, gt=0)
    request_timeout_ms: int = Field(
        10_000, ge=1_000, le=900_000, description="a producer's request without a response is retried after this"
    )
    linger_ms: int = Field(
        10, ge=0, le=900_000, description="how long the edge waits for more frames to fill a request"
    )
    max_message_bytes: int = Field(
        4_194_304, ge=65_536, description="maximum size of a frame, also in a topic that we create"
    )


class MongoSettings(Section):
    """The connection to MongoDB, which stores the catalogue."""

    uri: SecretStr | None = None
    database: str = Field("framematch", min_length=1, max_length=63)
    timeout_s: float = Field(5.0, gt=0)

    @field_validator("database")
    @classmethod
    def _allowed_by_mongodb(cls, value: str) -> str:
        if set(value) & set('/\\. "$*<>:|?'):
            raise ValueError('a database name has no space and none of / \\ . " $ * < > : | ?')
        return value


class TritonSettings(Section):
    """The connection to Triton, which serves the models."""

    url: Addresses = Field(None, description="host:port of Triton's gRPC endpoint")
    timeout_s: float = Field(10.0, gt=0, description="timeout of one inference request")
    shared_memory: bool = Field(
        False, description="send pictures to a Triton on the same host through shared memory instead of gRPC"
    )
    repository_key: SecretStr | None = Field(
        None,
        description="key of a Triton that restricts loading models and shared memory; `model build` and `model "
        "prune` need it, and `consume` with `shared_memory`",
    )

    @property
    def key(self) -> str | None:
        """The text of `repository_key`."""
        return None if self.repository_key is None else self.repository_key.get_secret_value()

    @field_validator("repository_key")
    @classmethod
    def _is_header_value(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _TRITON_KEY.fullmatch(value.get_secret_value()):
            raise ValueError("it must have 16 or more visible ASCII characters, without spaces")
        return value


class AgeSettings(Section):
    """Limits on the age of one camera's frames; what is not set is as for all cameras."""

    max_age_s: float | None = Field(None, gt=0)
    max_replay_age_s: float | None = Field(None, gt=0)


class SightingSettings(Section):
    """When a product in view counts as one sighting; times are arrival times of frames."""

    enabled: bool = Field(True, description="publish to `.sightings` when a product comes into view, stays and leaves")
    start_frames: int = Field(2, ge=1, description="matches that start a sighting, with at most gap_s between two")
    gap_s: float = Field(
        3.0, ge=0.1, description="a product not seen for this time has left; more than edge.motion.keep_alive_s"
    )
    update_s: float = Field(10.0, ge=0.1, description="interval of updates while a product stays in view")
    silent_s: float = Field(
        10.0, gt=0, description="sightings end when their camera sends no frames for this time; at least gap_s"
    )

    @model_validator(mode="after")
    def _silence_is_no_shorter_gap(self) -> Self:
        if self.silent_s < self.gap_s:
            raise ValueError("silent_s is less than gap_s: a pause shorter than gap_s would end a sighting")
        return self


class ConsumerSettings(Section):
    """How frames are fetched, batched and matched."""

    group_id: str = Field("framematch-consumers", min_length=1, max_length=249)
    workers: int = Field(1, ge=1, le=256, description="processes that one command runs as members of the group")
    delivery: Literal["at_least_once", "exactly_once"] = Field(
        "at_least_once",
        description="exactly_once: output and offsets in Kafka transactions, for read_committed readers",
    )
    batch_size: int = Field(16, ge=1, description="maximum number of regions in a batch, from any frames")
    batch_window_ms: float = Field(
        20.0, ge=0, description="how long the oldest region of a batch waits for more, while the model computes others"
    )
    batches_in_flight: int = Field(3, ge=1, description="inference requests to Triton at the same time")
    in_flight_max: int = Field(
        1024,
        ge=1,
        description="frames fetched and not yet acknowledged; then fetching pauses. One fetch may exceed it, by at "
        "most 1 MB per partition and 4 MB in all, or one batch of the producer",
    )
    in_flight_max_mb: float = Field(128.0, gt=0, description="the same by size, with decoded regions, in 1e6 bytes")
    decode: Literal["client", "server"] = Field(
        "client", description="who decodes JPEGs; server: Triton, whose model was built with --jpeg"
    )
    decode_threads: int = Field(2, ge=1, description="threads that decode, with `decode` client")
    reuse_static_regions: bool = Field(
        False, description="reuse the decision of an earlier frame for a region that has not changed, without the model"
    )
    reuse_static_regions_s: float = Field(2.0, gt=0, description="maximum time between the captures of two such frames")
    max_age_s: float | None = Field(None, gt=0, description="older frames are skipped and counted; not set: no limit")
    max_replay_age_s: float | None = Field(
        None, gt=0, description="the same for frames that were spooled on the edge's disk"
    )
    cameras: dict[CameraId, AgeSettings] = Field(
        default_factory=dict, description="other age limits for single cameras: {till-1: {max_age_s: 5}}"
    )
    sightings: SightingSettings = SightingSettings()
    max_pixels: int = Field(50_000_000, ge=1, description="a larger picture becomes a dead letter undecoded")
    max_regions: int = Field(256, ge=1, description="a frame with more regions becomes a dead letter")
    commit_interval_s: float = Field(0.25, gt=0, description="interval between commits of offsets, with at_least_once")
    transaction_interval_ms: float = Field(
        100.0,
        ge=0,
        description="interval between transactions of a partition, with exactly_once; with a backlog up to ten "
        "times as long",
    )
    session_timeout_ms: int = Field(
        6_000, ge=1_000, description="a consumer without a heartbeat for this time is removed from the group"
    )
    max_poll_interval_ms: int = Field(
        300_000, ge=1_000, description="a consumer that does not poll for this time leaves the group"
    )
    stall_timeout_s: float = Field(
        120.0, gt=0, description="the process ends after this time without progress despite lag and answering servers"
    )
    start_at: Literal["earliest", "latest"] = Field(
        "earliest", description="in a partition without an offset that the group has committed"
    )

    @model_validator(mode="after")
    def _still_regions_have_pixels(self) -> Self:
        if self.decode == "server" and self.reuse_static_regions:
            raise ValueError(
                "reuse_static_regions compares pixels, which only Triton has with decode server: set one of them back"
            )
        return self


class MatchingSettings(Section):
    """How similarities become decisions."""

    top_k: int = Field(5, ge=1, le=100, description="candidates in each event")
    threshold: float | None = Field(None, gt=0, le=1, description="similarity for a match; not set: the snapshot's")
    margin: float | None = Field(None, ge=0, le=1, description="lead over the second product; not set: the snapshot's")
    min_content: float = Field(
        3.0, ge=0, le=255, description="a region that shows less is unknown, and the model is not asked; 0: never"
    )
    min_quality: float = Field(
        0.3,
        ge=0,
        le=1,
        description="a region that is so blurred, dark or small that its quality is less is unknown, and the model is "
        "not asked; 0: never",
    )
    metadata_ttl_s: float = Field(60.0, gt=0, description="how long product metadata is cached")
    metadata_entries: int = Field(100_000, ge=1, description="maximum number of products in the cache")


class SnapshotSettings(Section):
    """Where index snapshots are kept, and which kind of index a build makes."""

    url: str | None = Field(
        None,
        description="a folder, or object storage such as s3://BUCKET/PREFIX (extra `s3`); not set: GridFS in MongoDB",
    )
    poll_s: float = Field(1.0, ge=0.1, description="interval at which services look for another active snapshot")
    index_kind: Literal["flat", "hnsw", "rabitq"] | None = Field(
        None, description="kind of index that a build makes; not set: by the number of vectors and `index_memory_mb`"
    )
    index_memory_mb: float | None = Field(
        None, gt=0, description="memory for the index of each host, in 1e6 bytes; not set: no limit"
    )

    @field_validator("url")
    @classmethod
    def _has_no_secret(cls, value: str | None) -> str | None:
        if value and "://" in value and set(value) & set("@?#"):
            raise ValueError(
                "the URL has no user, password or parameters: storages read them from the environment, such as "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
            )
        return value


class CalibrationSettings(Section):
    """Labelled pictures that calibrate decisions."""

    max_pictures: int = Field(20_000, ge=1, description="labelled pictures that are kept in MongoDB at most")


class Settings(Section):
    """All sections. Created by `framematch.core.settings_sources.load_settings`."""

    kafka: KafkaSettings = KafkaSettings()
    mongodb: MongoSettings = MongoSettings()
    triton: TritonSettings = TritonSettings()
    edge: EdgeSettings = EdgeSettings()
    consumer: ConsumerSettings = ConsumerSettings()
    matching: MatchingSettings = MatchingSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    api: ApiSettings = ApiSettings()
    archive: ArchiveSettings = ArchiveSettings()
    review: ReviewSettings = ReviewSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    gpu_interval_s: float = Field(5.0, gt=0, description="interval between readings of the GPU metrics")
    shutdown_deadline_s: float = Field(20.0, gt=0, description="time after SIGTERM to finish what is in flight")
    cameras_key: SecretStr | None = Field(
        None,
        description="key of API and edges for the sources of wanted cameras: 32 random bytes in Base64 (URL-safe); "
        "several, separated by commas: the first encrypts, all decrypt",
    )

    @field_validator("cameras_key")
    @classmethod
    def _are_keys(cls, value: SecretStr | None) -> SecretStr | None:
        for key in split_keys(value.get_secret_value()) if value else ():
            try:
                size = len(urlsafe_b64decode(key))
            except ValueError:
                size = 0
            if size != _CAMERAS_KEY_BYTES:
                raise ValueError(f"a key is {_CAMERAS_KEY_BYTES} bytes in URL-safe Base64, 44 characters")
        return value


def split_keys(keys: str) -> tuple[str, ...]:
    """The keys of `cameras_key`, in their order."""
    return tuple(key.strip() for key in keys.split(","))
