"""A worker's supervisor, without processes."""

import asyncio
import errno
import os

import pytest
from prometheus_client import CollectorRegistry

from consumers.workers import supervisor
from consumers.workers.supervisor import WorkerMetrics, WorkerSupervisor
from framematch.core.settings import Settings


async def idle(_settings: Settings, _stop: asyncio.Event) -> None:
    """A service that does nothing."""


async def test_a_process_that_cannot_be_started_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, attempts = asyncio.Event(), []

    def refuse(*_arguments: object) -> None:
        attempts.append(1)
        if len(attempts) == 2:
            stop.set()
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(supervisor, "WorkerProcess", refuse)
    monkeypatch.setattr(supervisor, "_FIRST_DELAY_S", 0.0)
    status = await WorkerSupervisor(1, idle, Settings(), WorkerMetrics(CollectorRegistry())).run(stop)
    assert status is not None
    assert status.reason == "its process cannot be started: Resource temporarily unavailable"
