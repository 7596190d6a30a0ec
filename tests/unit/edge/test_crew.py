"""The crew: cameras come, change and go, and the others run on."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from edge.cameras import Camera
from edge.crew import Crew
from edge.keeper import Keeper
from edge.meter import CameraMeter
from edge.metrics import EdgeMetrics
from edge.sources import Source


class ScriptedKeeper:
    """Runs until it is cancelled, or told to end."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.end = asyncio.Event()
        self.cancelled = False

    async def run(self) -> None:
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


class Office:
    """Hires scripted keepers and remembers them."""

    def __init__(self) -> None:
        self.keepers: list[ScriptedKeeper] = []
        self.dismissed: list[str] = []
        self._metrics = EdgeMetrics(CollectorRegistry())

    def hire(self, camera: Camera) -> tuple[Keeper, CameraMeter]:
        self.keepers.append(ScriptedKeeper(camera))
        meter = CameraMeter(camera.id, self._metrics.of(camera.id), lambda: None)
        return cast("Keeper", cast("Any", self.keepers[-1])), meter

    def crew(self) -> Crew:
        return Crew(self.hire, lambda meter: self.dismissed.append(meter.camera))

    def hired(self) -> list[str]:
        return [keeper.camera.id for keeper in self.keepers]


@pytest.fixture
def office() -> Office:
    return Office()


def camera(name: str, fps: float = 5.0) -> Camera:
    return Camera(name, Source("stream", f"rtsp://127.0.0.1/{name}"), fps, 640, 85)


async def apply(crew: Crew, *cameras: Camera) -> None:
    await crew.apply(cameras)
    await asyncio.sleep(0)  # a task that never began has nothing to cancel


async def test_a_camera_that_is_the_same_runs_on(office: Office) -> None:
    async with office.crew() as crew:
        await apply(crew, camera("a"), camera("b"))
        await apply(crew, camera("b"), camera("a"))
        assert office.hired() == ["a", "b"]
        assert not any(keeper.cancelled for keeper in office.keepers)


async def test_a_camera_that_changed_starts_anew_alone(office: Office) -> None:
    async with office.crew() as crew:
        await apply(crew, camera("a"), camera("b"))
        await apply(crew, camera("a"), replace(camera("b"), fps=1.0))
        assert office.hired() == ["a", "b", "b"]
        assert [keeper.cancelled for keeper in office.keepers] == [False, True, False]
        assert office.dismissed == []


async def test_a_camera_that_is_gone_is_stopped_and_dismissed(office: Office) -> None:
    async with office.crew() as crew:
        await apply(crew, camera("a"), camera("b"))
        await apply(crew, camera("a"))
        assert office.dismissed == ["b"]
        assert [keeper.cancelled for keeper in office.keepers] == [False, True]


async def test_a_camera_that_comes_later_is_started(office: Office) -> None:
    async with office.crew() as crew:
        await apply(crew, camera("a"))
        await apply(crew, camera("a"), camera("b"))
        assert office.hired() == ["a", "b"]


async def test_it_is_quiet_when_all_have_ended_by_themselves(office: Office) -> None:
    async with office.crew() as crew:
        await apply(crew, camera("a"), camera("b"))
        quiet = asyncio.ensure_future(crew.quiet())
        office.keepers[0].end.set()
        await asyncio.wait({quiet}, timeout=0)
        assert not quiet.done()
        office.keepers[1].end.set()
        await quiet


async def test_a_change_of_all_cameras_is_no_end(office: Office) -> None:
    async with office.crew() as crew:
        await apply(crew, camera("a"))
        quiet = asyncio.ensure_future(crew.quiet())
        await apply(crew, camera("a", fps=1.0))
        await asyncio.wait({quiet}, timeout=0)
        assert not quiet.done()
        office.keepers[-1].end.set()
        await quiet


async def test_stopping_ends_all(office: Office) -> None:
    async with office.crew() as crew:
        await apply(crew, camera("a"), camera("b"))
        await crew.stop()
        assert all(keeper.cancelled for keeper in office.keepers)


async def test_nothing_runs_after_the_context(office: Office) -> None:
    async with office.crew() as crew:
        await apply(crew, camera("a"))
    assert office.keepers[0].cancelled
