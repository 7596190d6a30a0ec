"""Every setting of every service, from YAML and the environment, with unknown keys refused.

The order, strongest first: command line, environment, YAML file, the local stack's state file, the defaults here.
Environment names are `FRAMEMATCH_<SECTION>__<NAME>`, and the conventional ones in `CONVENTIONAL_NAMES`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from framematch.core.names import valid_camera_id

CONVENTIONAL_NAMES = {
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
    "KAFKA_GROUP_ID": ("consumer", "group_id"),
    "MONGODB_URI": ("mongodb", "uri"),
    "TRITON_URL": ("triton", "url"),
    "RTSP_TRANSPORT": ("edge", "rtsp_transport"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("tracing", "otlp_endpoint"),
    "LOG_LEVEL": ("log", "level"),
}

CameraId = Annotated[str, AfterValidator(valid_camera_id)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """Where Kafka is, how to speak to it, and the shape of our topics."""

    bootstrap_servers: str | None = Field(None, description="host:port, several separated by commas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: str | None = Field(None, description="PEM file that signs the brokers; the system's own when not set")
    ssl_certificate_file: str | None = Field(None, description="PEM client certificate for mutual TLS")
    ssl_key_file: str | None = Field(None, description="PEM key of the client certificate")
    topic_prefix: str = Field("framematch", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    partitions: int = Field(12, ge=1, description="of a topic that we create; the most consumers that can share it")
    replication_factor: int | None = Field(
        None, ge=1, description="of a topic that we create; not set: 3, or the number of brokers if that is less"
    )
    frames_retention_minutes: float = Field(60.0, gt=0)
    matches_retention_hours: float = Field(168.0, gt=0)
    request_timeout_ms: int = Field(
        10_000, ge=1_000, description="a producer's request that has no answer by then is sent again"
    )
    linger_ms: int = Field(10, ge=0, description="how long the edge waits to fill a request to Kafka")
    max_message_bytes: int = Field(4_194_304, ge=65_536, description="largest frame; the frames topic is created so")


class MongoSettings(_Section):
    """Where the catalogue lives."""

    uri: SecretStr | None = None
    database: str = "framematch"
    timeout_s: float = Field(5.0, gt=0)


class TritonSettings(_Section):
    """Where the models are served."""

    url: str | None = Field(None, description="host:port of Triton's gRPC endpoint")
    timeout_s: float = Field(10.0, gt=0, description="of one inference request")
    shared_memory: bool = Field(
        False, description="pass pictures to a Triton on the same host in shared memory instead of through gRPC"
    )


def _short(name: str) -> BeforeValidator:
    """Let a plain value stand for a section that holds it under `name`: `motion: true`, `regions: motion`."""
    return BeforeValidator(lambda value: {name: value} if isinstance(value, str | bool) else value)


class MotionSettings(_Section):
    """Whether frames of a scene in which nothing moves are left out; off unless `gate` is true."""

    gate: bool = Field(False, description="send frames with motion, and a keep-alive frame of a static scene")
    min_area: float = Field(0.005, gt=0, le=1, description="share of the picture that must change")
    keep_alive_s: float = Field(10.0, gt=0, description="the longest pause between two frames of a static scene")


Fraction = Annotated[float, Field(ge=0, le=1)]
Box = tuple[Fraction, Fraction, Fraction, Fraction]
"""`[x, y, width, height]` as shares of the picture, so that it holds at any resolution."""
Point = tuple[Fraction, Fraction]


class RegionSettings(_Section):
    """Which boxes of a frame are looked at; each gives a match event of its own."""

    mode: Literal["whole", "boxes", "grid", "motion"] = Field(
        "whole", description="the whole frame, the boxes below, a grid, or boxes around what moved"
    )
    boxes: tuple[Box, ...] = Field((), description="for mode boxes: [x, y, width, height] as shares of the picture")
    columns: int = Field(2, ge=1, le=16, description="for mode grid")
    rows: int = Field(2, ge=1, le=16, description="for mode grid")
    pad: float = Field(0.1, ge=0, le=1, description="for mode motion: margin around a box, as a share of its size")
    min_side: float = Field(0.05, gt=0, le=1, description="for mode motion: smaller boxes grow to this share")
    most: int = Field(8, ge=1, le=64, description="for mode motion: boxes a frame at most, the largest")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.mode == "boxes") != bool(self.boxes):
            raise ValueError("mode boxes needs boxes, and boxes need mode boxes")
        if any(x + width > 1 or y + height > 1 or not width or not height for x, y, width, height in self.boxes):
            raise ValueError("a box is [x, y, width, height], all shares of the picture, and lies inside of it")
        return self


Motion = Annotated[MotionSettings, _short("gate")]
Regions = Annotated[RegionSettings, _short("mode")]


class MaskSettings(_Section):
    """An area that never counts as motion and, unless `hide` is false, is painted black before anything is sent."""

    polygon: tuple[Point, ...] = Field(min_length=3, description="[x, y] of each corner, as shares of the picture")
    hide: bool = True


class SpoolSettings(_Section):
    """Where frames wait on disk while Kafka does not take them; for each camera."""

    enabled: bool = True
    folder: str | None = Field(None, description="not set: `edge-spool` in the state folder")
    max_mb: float = Field(512.0, gt=0, description="a camera's frames on disk, in 1e6 bytes; then the oldest go first")
    max_age_s: float = Field(3600.0, gt=0, description="older frames are given up, and counted")
    after_s: float = Field(1.0, gt=0, description="without an acknowledgement for so long, frames go to disk")


class CameraSettings(_Section):
    """One camera; what is not set here is taken from the edge section."""

    source: SecretStr = Field(description="rtsp:// URL, file, device number, folder of images, or @FILE that holds it")
    fps: float | None = Field(None, gt=0)
    max_side: int | None = Field(None, ge=32)
    jpeg_quality: int | None = Field(None, ge=1, le=100)
    rtsp_transport: Literal["tcp", "udp"] | None = None
    key_frames_only: bool = Field(False, description="decode key frames alone: cheapest, for slow scenes")
    motion: Motion | None = None
    regions: Regions | None = None
    masks: tuple[MaskSettings, ...] = ()

    @field_validator("source", mode="before")
    @classmethod
    def _device_number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


class EdgeSettings(_Section):
    """What the edge service reads and how it sends it."""

    cameras: dict[CameraId, CameraSettings] = Field(default_factory=dict)
    fps: float = Field(5.0, gt=0, description="frames sent per second and camera")
    max_side: int = Field(640, ge=32, description="pixels; larger pictures are scaled down before they are sent")
    jpeg_quality: int = Field(85, ge=1, le=100)
    motion: Motion = MotionSettings()
    regions: Regions = RegionSettings()
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    allowed_hosts: tuple[str, ...] = Field(
        (), description="hosts, besides a source's own, that its redirects and playlists may lead to"
    )
    open_timeout_s: float = Field(5.0, gt=0)
    read_timeout_s: float = Field(5.0, gt=0)
    watchdog_s: float = Field(20.0, gt=0, description="a camera's process without a new frame is killed after this")
    max_lag_s: float = Field(5.0, gt=0, description="a stream that falls so far behind its own clock is opened again")
    backoff_initial_s: float = Field(0.5, gt=0)
    backoff_max_s: float = Field(30.0, gt=0)
    stable_after_s: float = Field(30.0, gt=0, description="a camera that ran so long starts again from the first delay")
    unacknowledged_max: int = Field(256, ge=1, description="frames sent and not yet acknowledged, over all cameras")
    unacknowledged_max_mb: float = Field(64.0, gt=0, description="and their size, in 1e6 bytes")
    spool: SpoolSettings = SpoolSettings()
    status_interval_s: float = Field(10.0, gt=0)

    @field_validator("cameras", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """Let `till-1: rtsp://…` stand for `till-1: {source: rtsp://…}`."""
        if not isinstance(value, dict):
            return value
        return {key: {"source": item} if isinstance(item, str | int) else item for key, item in value.items()}


class AgeSettings(_Section):
    """How old a frame may be when work on it begins; what is not set for a camera is as for all."""

    max_age_s: float | None = Field(None, gt=0)
    max_replay_age_s: float | None = Field(None, gt=0)


class SightingSettings(_Section):
    """When a product before a camera is one sighting; times are those at which the camera's frames came."""

    enabled: bool = Field(True, description="tell in `.sightings` when a product comes, stays and leaves")
    start_frames: int = Field(2, ge=1, description="matches that start one, none further from the next than gap_s")
    gap_s: float = Field(
        3.0,
        ge=0.1,
        description="a product not seen for so long has left; more than edge.motion.keep_alive_s with its gate",
    )
    update_s: float = Field(10.0, ge=0.1, description="while it stays it is told once in so long")
    silent_s: float = Field(
        10.0,
        gt=0,
        description="a camera that sends nothing for so long by our clock has nothing in view; gap_s or more",
    )

    @model_validator(mode="after")
    def _silence_is_no_shorter_gap(self) -> Self:
        if self.silent_s < self.gap_s:
            raise ValueError("silent_s is less than gap_s: a pause that is no gap would end a sighting")
        return self


class ConsumerSettings(_Section):
    """How frames are fetched, batched and answered."""

    group_id: str = "framematch-consumers"
    workers: int = Field(1, ge=1, le=256, description="processes of this group that one command runs")
    delivery: Literal["at_least_once", "exactly_once"] = Field(
        "at_least_once", description="exactly_once: output and offsets go in Kafka transactions; read_committed sees it"
    )
    batch_size: int = Field(16, ge=1, description="regions in a batch, of any frames, at most")
    batch_window_ms: float = Field(20.0, ge=0, description="how long the oldest frame of a batch waits for more")
    batches_in_flight: int = Field(3, ge=1)
    in_flight_max: int = Field(
        1024,
        ge=1,
        description="frames fetched and not yet acknowledged; from then on fetching waits. The last fetch may go "
        "beyond it, by 4 MB a partition at most",
    )
    in_flight_max_mb: float = Field(128.0, gt=0, description="and their size, decoded crops too, in 1e6 bytes")
    decode_threads: int = Field(2, ge=1)
    reuse_static_regions: bool = Field(
        False, description="a region that looks as in an earlier frame takes its decision, without inference"
    )
    reuse_static_regions_s: float = Field(
        2.0, gt=0, description="the largest difference between the capture times of two such frames"
    )
    max_age_s: float | None = Field(None, gt=0, description="older frames are counted and skipped; not set: kept")
    max_replay_age_s: float | None = Field(
        None, gt=0, description="the same for frames that waited on the edge's disk because Kafka was away"
    )
    cameras: dict[CameraId, AgeSettings] = Field(
        default_factory=dict, description="other ages for some cameras: {till-1: {max_age_s: 5}}"
    )
    sightings: SightingSettings = SightingSettings()
    max_pixels: int = Field(50_000_000, ge=1, description="a larger picture is a dead letter, before it is decoded")
    max_regions: int = Field(256, ge=1, description="a frame with more regions is a dead letter")
    commit_interval_s: float = Field(1.0, gt=0, description="between two commits of offsets, with at_least_once")
    transaction_interval_ms: float = Field(
        100.0, ge=0, description="between the beginnings of two transactions of a partition, with exactly_once"
    )
    session_timeout_ms: int = Field(
        10_000, ge=1_000, description="a consumer that says nothing for so long has left the group"
    )
    max_poll_interval_ms: int = Field(
        300_000, ge=1_000, description="a consumer that does not ask for frames for so long leaves the group"
    )
    stall_timeout_s: float = Field(
        120.0,
        gt=0,
        description="ends the process when nothing moves for so long though there is lag and all servers answer",
    )
    start_at: Literal["earliest", "latest"] = Field(
        "earliest", description="in a partition without an offset that the group has committed"
    )


class MatchingSettings(_Section):
    """How similarities become decisions."""

    top_k: int = Field(5, ge=1, le=100, description="candidates in each event")
    threshold: float | None = Field(None, ge=-1, le=1, description="similarity for a match; not set: the snapshot's")
    margin: float | None = Field(None, ge=0, le=2, description="lead over the second product; not set: the snapshot's")
    metadata_ttl_s: float = Field(60.0, gt=0, description="how long product metadata is used before it is read again")
    metadata_entries: int = Field(100_000, ge=1, description="products kept in memory")


class HttpSettings(_Section):
    """The endpoint of a service with /healthz, /readyz and /metrics."""

    host: str = Field("127.0.0.1", description="address to listen at; a path makes it a UNIX socket there")
    port: int = Field(0, ge=0, le=65535, description="0 takes a free one, which the log names")


class TracingSettings(_Section):
    """Where spans of frames are sent; without an endpoint nothing is traced."""

    otlp_endpoint: SecretStr | None = Field(
        None, description="http:// or https:// URL of an OTLP/HTTP receiver, often at port 4318; /v1/traces is added"
    )
    sample_ratio: float = Field(1.0, ge=0, le=1, description="share of frames whose traces are recorded")

    @field_validator("otlp_endpoint", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: Any) -> Any:
        return value or None

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("give an http:// or https:// URL")
        return value


class LogSettings(_Section):
    """How the log looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"

    @field_validator("level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    """All sections. Made by `framematch.core.settings_sources.load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="FRAMEMATCH_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    mongodb: MongoSettings = MongoSettings()
    triton: TritonSettings = TritonSettings()
    edge: EdgeSettings = EdgeSettings()
    consumer: ConsumerSettings = ConsumerSettings()
    matching: MatchingSettings = MatchingSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    gpu_interval_s: float = Field(5.0, gt=0, description="between two readings of the GPU's figures")
    shutdown_deadline_s: float = Field(20.0, gt=0, description="for what is in flight after SIGTERM")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the loader hands over: it reads the environment itself, to refuse names that nobody knows."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
