"""The keepers of all cameras: cameras come, change and go while the others run on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from edge.cameras import Camera
from edge.keeper import Keeper
from edge.meter import CameraMeter

log = structlog.get_logger()


@dataclass(frozen=True)
class Member:
    """One camera with its account and the task that keeps it going."""

    camera: Camera
    meter: CameraMeter
    task: asyncio.Task[None]


class Crew:
    """A context that owns a task for each camera; at its end all of them have ended.

    `hire` makes what a camera needs to begin, `dismissed` is told of one that was removed for good.
    """

    def __init__(
        self, hire: Callable[[Camera], tuple[Keeper, CameraMeter]], dismissed: Callable[[CameraMeter], object]
    ) -> None:
        self._hire = hire
        self._dismissed = dismissed
        self._members: dict[str, Member] = {}
        self._group = asyncio.TaskGroup()
        self._quiet = asyncio.Event()
        self._changing = False  # who is stopped for a change has not ended by itself

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self._members.values():
            member.task.cancel()
        await self._group.__aexit__(kind, error, trace)

    async def apply(self, cameras: tuple[Camera, ...]) -> None:
        """Let exactly these cameras run: what is the same runs on, what changed starts anew, what is gone stops."""
        self._changing = True
        wanted = {camera.id: camera for camera in cameras}
        leaving = [member for name, member in self._members.items() if wanted.get(name) != member.camera]
        await _end(leaving)
        for member in leaving:
            del self._members[member.camera.id]
            if member.camera.id not in wanted:
                self._dismissed(member.meter)
        for camera in cameras:
            if camera.id not in self._members:
                self._start(camera)
        self._changing = False
        self._quiet.set()

    async def quiet(self) -> None:
        """Return when every camera has ended by itself, as files and folders do."""
        while self._changing or not all(member.task.done() for member in self._members.values()):
            self._quiet.clear()
            await self._quiet.wait()

    async def stop(self) -> None:
        """Stop all cameras and return when their processes have ended."""
        await _end(list(self._members.values()))

    def _start(self, camera: Camera) -> None:
        keeper, meter = self._hire(camera)
        task = self._group.create_task(keeper.run(), name=f"camera-{camera.id}")
        task.add_done_callback(lambda _: self._quiet.set())
        self._members[camera.id] = Member(camera, meter, task)


async def _end(members: list[Member]) -> None:
    for member in members:
        member.task.cancel()
    if members:
        await asyncio.wait([member.task for member in members])
