"""Settings of the REST API."""

from pydantic import Field

from framematch.core.settings_access import AccessSettings
from framematch.core.settings_section import PORT_MAX


class ApiSettings(AccessSettings):
    """The REST API: where it listens, who may use it, and how much it takes at once."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 in a container")
    port: int = Field(8080, ge=0, le=PORT_MAX, description="0: any free port, which is logged")
    stream_clients_max: int = Field(500, ge=1, description="open event streams; more are refused with 429")
    stream_ring_mb: float = Field(
        64.0, ge=1, description="memory for the newest events, for all streams together; older ones are read from Kafka"
    )
    stream_send_timeout_s: float = Field(
        20.0, ge=0.1, description="an event stream whose client takes nothing for so long is ended"
    )
    request_timeout_s: float = Field(10.0, gt=0, description="time for a request, if it does not ask for less")
    upload_timeout_s: float = Field(30.0, gt=0, description="a body that is not complete by then ends the request")
    pictures_in_flight_max: int = Field(
        256,
        ge=64,
        description="pictures and regions that are matched at once, or fewer while answers take half of "
        "request_timeout_s; more are refused with 429",
    )
    body_mb_in_flight_max: int = Field(256, ge=40, description="1e6 bytes of bodies at once; more are refused with 429")
    decode_threads: int = Field(2, ge=1, description="threads that decode pictures")
    batch_size: int = Field(16, ge=1, description="maximum number of pictures of all requests in a batch for Triton")
    operations_max: int = Field(
        1, ge=1, le=32, description="imports, exports, builds and purges that a process runs at once; others wait"
    )
    import_hosts: tuple[str, ...] = Field(
        (),
        description="hosts that imports over REST download pictures from: names, *.names, addresses or networks, with "
        "a port if it is not 80 or 443; empty: none is asked",
    )
    operations_kept_h: float = Field(
        168.0, gt=0, description="how long an operation that has ended is kept, with its files"
    )
