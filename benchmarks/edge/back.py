"""How soon frames flow again after the RTSP server and its publisher were killed and started again.

The time goes from the first moment when the stream can be read (RTSP DESCRIBE answers 200) to the arrival of a frame of
the new stream at a Kafka consumer. Two edges, one with the default backoff and one with a short one, have several
cameras each on the same stream. Each camera waits by its own backoff, so an outage gives a figure for every camera.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.edge.arrivals import Arrivals, watching
from benchmarks.edge.site import Edge, Site, Stream, playing, running_edge
from benchmarks.edge.videos import SMALL, cached_video
from benchmarks.harness import Figure
from benchmarks.results import Results
from framematch.core.errors import FramematchError
from framematch.core.settings import EdgeSettings
from framematch.core.timestamps import now_us

_NAME = "stream_back_to_first_frame_s"
_SHORT = f"{_NAME}.backoff_max_1s"
_SETTINGS: Mapping[str, dict[str, str]] = {_NAME: {}, _SHORT: {"FRAMEMATCH_EDGE__BACKOFF_MAX_S": "1"}}
_DEADLINE_S = 120.0

Camera = tuple[str, str]
"""The topic prefix of its edge, and its name."""


@dataclass(frozen=True)
class Plan:
    """`outages` of `outage_s` seconds each, seen by `cameras` cameras of each edge."""

    outages: int
    outage_s: float
    cameras: int = 4


def measure_back(site: Site, plan: Plan) -> Results:
    """Seconds from a readable stream to a frame in Kafka, with the default backoff and with a short one.

    Raises:
        FramematchError: something did not start, or a camera did not come back.
    """
    seconds: dict[str, list[float]] = {name: [] for name in _SETTINGS}
    with playing(site, cached_video(SMALL), "comes-and-goes") as stream, ExitStack() as running:
        edges = {
            name: running.enter_context(running_edge(site, stream.url, cameras=plan.cameras, **settings))
            for name, settings in _SETTINGS.items()
        }
        for number in range(1, plan.outages + 1):
            for edge in edges.values():
                edge.wait_until_frames_flow()
            stream.kill()
            site.rtsp.kill()
            time.sleep(plan.outage_s)
            found = asyncio.run(_come_back(site, stream, list(edges.values())))
            for name, edge in edges.items():
                seconds[name] += [after for (prefix, _), after in found.items() if prefix == edge.kafka.topic_prefix]
            print(f"outage {number} of {plan.outages}: frames after {max(found.values()):.1f} s or less", flush=True)
    settings = EdgeSettings()
    return Results(
        figures={name: Figure.of(values, "s") for name, values in seconds.items()},
        settings={
            "outages": plan.outages,
            "outage_s": plan.outage_s,
            "cameras": plan.cameras,
            "video": SMALL.name,
            "key_frame_every_s": 1,
            "backoff_initial_s": settings.backoff_initial_s,
            "backoff_max_s": settings.backoff_max_s,
        },
    )


async def _come_back(site: Site, stream: Stream, edges: Sequence[Edge]) -> dict[Camera, float]:
    """Start server and publisher, and see each camera's first frame: seconds after the stream could be read."""
    async with watching([edge.kafka for edge in edges]) as arrivals:
        began_us = now_us()
        starting = asyncio.create_task(asyncio.to_thread(_start, site, stream))
        wanted = sum(edge.cameras for edge in edges)
        try:
            async with asyncio.timeout(_DEADLINE_S):
                first = await _first_frames(arrivals, wanted, since_us=began_us)
        except TimeoutError:
            raise FramematchError(f"not all of {wanted} cameras came back within {_DEADLINE_S:g} s") from None
        finally:
            readable_s = await starting
    return {camera: at_s - readable_s for camera, at_s in first.items()}


def _start(site: Site, stream: Stream) -> float:
    site.rtsp.start()
    return stream.start()


async def _first_frames(arrivals: Arrivals, cameras: int, *, since_us: int) -> dict[Camera, float]:
    """When the first frame of each camera came that its edge got after `since_us`."""
    first: dict[Camera, float] = {}
    while len(first) < cameras:
        for arrival in await arrivals.next():
            if arrival.grabbed_at_us >= since_us:
                first.setdefault((arrival.prefix, arrival.frame.camera), arrival.at_s)
    return first
