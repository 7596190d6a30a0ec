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
    request_timeout_s: float = Field(10.0, gt=0, description="time for a request, if it does not ask for less")
    operations_max: int = Field(
        1, ge=1, le=32, description="imports, exports, builds and purges that a process runs at once; others wait"
    )
    operations_kept_h: float = Field(
        168.0, gt=0, description="how long an operation that has ended is kept, with its files"
    )
