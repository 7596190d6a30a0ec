"""Settings that every service has: its HTTP endpoint, its log, its traces."""

from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from framematch.core.settings_section import PORT_MAX, Section


class HttpSettings(Section):
    """The HTTP endpoint of a service with /healthz, /readyz and /metrics."""

    host: str = Field("127.0.0.1", description="address to listen on, or the path of a UNIX socket")
    port: int = Field(0, ge=0, le=PORT_MAX, description="0: any free port, which is logged")


class TracingSettings(Section):
    """Where the spans of frames are sent; without an endpoint nothing is traced."""

    otlp_endpoint: SecretStr | None = Field(
        None, description="http:// or https:// URL of an OTLP/HTTP receiver, usually port 4318; /v1/traces is appended"
    )
    sample_ratio: float = Field(1.0, ge=0, le=1, description="share of frames whose traces are recorded")

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("give an http:// or https:// URL")
        return value


class LogSettings(Section):
    """Level and format of the log, and whether Kafka gets it too."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    topic: bool = Field(False, description="services publish their log events to `.logs` too")
    topic_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level of these; never lower than `level`"
    )

    @field_validator("level", "topic_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value
