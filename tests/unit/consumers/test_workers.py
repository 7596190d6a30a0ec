"""A worker's keeper, without processes."""

import asyncio
import errno
import os

import pytest
from prometheus_client import CollectorRegistry

from consumers.workers import supervisor as workers
from consumers.workers.metrics import WorkerMetrics
from consumers.workers.supervisor import WorkerKeeper
from framematch.core.settings import Settings


async def nothing(_settings: Settings, _stop: asyncio.Event) -> None:
    """What the worker would do."""


async def test_a_machine_without_room_for_another_process_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, tries = asyncio.Event(), []

    def refused(*_given: object) -> None:
        tries.append(1)
        if len(tries) == 2:
            stop.set()
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(workers, "WorkerProcess", refused)
    monkeypatch.setattr(workers, "_FIRST_DELAY_S", 0.0)
    keeper = WorkerKeeper(1, nothing, Settings(), WorkerMetrics(CollectorRegistry()))
    ending = await keeper.run(stop)
    assert ending is not None
    assert ending.reason == "its process cannot be started: Resource temporarily unavailable"
