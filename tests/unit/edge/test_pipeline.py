"""The edge service while it stops."""

import asyncio
from typing import Any, cast

from prometheus_client import CollectorRegistry

from edge.cameras import Camera
from edge.manager import CameraManager
from edge.metrics import EdgeMetrics
from edge.outbox.dispatcher import Dispatcher
from edge.pipeline import EdgeService
from edge.reload import Accepted, CameraChanges, SettingsWatch
from edge.wanted import Wanted
from framematch.core.health import Health
from framematch.core.settings import Settings
from tests.support import eventually
from tests.unit.edge.fake_cameras import FakeProcesses, FakeSinks, camera


class ConnectedProducer:
    connected = True

    async def wait_connected(self) -> None:
        """Return at once."""

    async def send(self, _record: object) -> "asyncio.Future[None]":
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged


class FakeDispatcher(FakeSinks):
    """Is connected; `finishing` is set when `finish` starts, which takes some time."""

    producer = ConnectedProducer()
    stalled_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.finishing = asyncio.Event()

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def finish(self, deadline_s: float) -> None:
        del deadline_s
        self.finishing.set()
        for _ in range(20):
            await asyncio.sleep(0)


class ChangeAt:
    """Settings that change once, when `event` is set."""

    followed = None
    wanted = Wanted()

    def __init__(self, event: asyncio.Event, *cameras: Camera) -> None:
        self._event = event
        self._cameras = cameras

    async def next(self) -> Accepted:
        await self._event.wait()
        self._event = asyncio.Event()
        return Accepted(self._cameras, CameraChanges())


async def test_settings_that_change_while_the_service_stops_start_no_camera() -> None:
    settings, metrics = Settings(), EdgeMetrics(CollectorRegistry())
    processes, dispatcher, stop = FakeProcesses(), FakeDispatcher(), asyncio.Event()
    manager = CameraManager(settings, metrics, dispatcher, processes.as_processes())
    service = EdgeService(settings, metrics, Health("kafka"), cast("Dispatcher", cast("Any", dispatcher)), manager)
    watch = cast("SettingsWatch", cast("Any", ChangeAt(dispatcher.finishing, camera("a"), camera("b"))))
    running = asyncio.create_task(service.run((camera("a"),), stop, watch))
    await eventually(lambda: processes.names() == ["a"])
    stop.set()
    await asyncio.wait_for(running, 30)
    assert processes.names() == ["a"]
    assert processes.stopped() == [True]
    assert list(dispatcher.sinks) == ["a"]
