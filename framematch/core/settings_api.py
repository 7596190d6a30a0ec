"""Settings of the REST API."""

from typing import Literal

from pydantic import Field

from framematch.core.settings_section import PORT_MAX, Section


class ApiSettings(Section):
    """The REST API: where it listens, who may use it, and how much it takes at once."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 in a container")
    port: int = Field(8080, ge=0, le=PORT_MAX, description="0: any free port, which is logged")
    auth: Literal["keys", "none"] = Field(
        "keys", description="none: whoever reaches it may do everything; only on a loopback address"
    )
    stream_clients_max: int = Field(500, ge=1, description="open event streams; more are refused with 429")
    stream_ring_mb: float = Field(
        64.0, ge=1, description="memory for the newest events, for all streams together; older ones are read from Kafka"
    )
    stream_send_timeout_s: float = Field(
        20.0, ge=0.1, description="an event stream whose client takes nothing for so long is ended"
    )
    request_timeout_s: float = Field(10.0, gt=0, description="time for a request, if it does not ask for less")
