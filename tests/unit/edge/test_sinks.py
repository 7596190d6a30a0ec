"""What the camera manager and its supervisors need of Kafka's outboxes, without a broker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from edge.metrics import EdgeMetrics
from edge.outbox.dispatcher import Dispatcher
from edge.stats import CameraStats
from framematch.core.settings import EdgeSettings, KafkaSettings, SpoolSettings

NOBODY = "127.0.0.1:9"


def stats(camera: str) -> CameraStats:
    return CameraStats(camera, EdgeMetrics(CollectorRegistry()).of(camera), lambda: None)


@pytest.fixture
async def dispatcher(tmp_path: Path) -> AsyncIterator[Dispatcher]:
    kafka = KafkaSettings(bootstrap_servers=NOBODY)
    dispatcher = Dispatcher(kafka, EdgeSettings(spool=SpoolSettings(folder=str(tmp_path))))
    running = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    yield dispatcher
    await dispatcher.finish(0.1)
    await running
    await dispatcher.close()


async def test_a_removed_outbox_and_its_task_are_gone(dispatcher: Dispatcher) -> None:
    before = asyncio.all_tasks()
    outbox = dispatcher.outbox("till-1", stats("till-1"), live=True)
    (task,) = asyncio.all_tasks() - before
    await outbox.drained()
    await dispatcher.remove("till-1")
    await asyncio.wait([task])
    assert dispatcher.outboxes == ()
    assert dispatcher.outbox("till-1", stats("till-1"), live=True) is not outbox
