"""The line between a camera's process and the service: asking, answering, and an end that is gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from edge.link.area import SharedArea
from edge.link.ends import ServiceEnd, WorkerEnd
from edge.link.messages import Crashed, Ended, Failed, FrameReady, Message, Opened, pack, unpack

FRAME = FrameReady(3, 7, 1_000, 2_000, 3.5, 3.6, "rtcp", ((1, 2, 3, 4),))


@pytest.fixture
async def ends() -> AsyncIterator[tuple[ServiceEnd, WorkerEnd]]:
    area = SharedArea.create(100)
    with ServiceEnd(area) as service:
        yield service, WorkerEnd(service.far_end, area)
    area.close()


@pytest.mark.parametrize("message", [Opened(640, 480), FRAME, Ended(), Failed("no frame"), Crashed("x", "y")])
def test_a_message_survives_the_line(message: Message) -> None:
    assert unpack(pack(message)) == message


async def test_what_is_asked_for_is_handed_over_with_its_jpeg(ends: tuple[ServiceEnd, WorkerEnd]) -> None:
    service, worker = ends
    service.ask()
    assert worker.wait_until_asked()
    worker.deliver(FRAME, b"jpg")
    message = await asyncio.wait_for(service.receive(), 30)
    assert message == FRAME
    assert service.jpeg(FRAME) == b"jpg"


async def test_a_dismissed_worker_is_not_asked_any_more(ends: tuple[ServiceEnd, WorkerEnd]) -> None:
    service, worker = ends
    service.dismiss()
    assert not worker.wait_until_asked()
    worker.say(Ended())
    assert await asyncio.wait_for(service.receive(), 30) == Ended()


async def test_a_worker_whose_service_is_gone_can_still_speak_and_is_not_asked() -> None:
    area = SharedArea.create(100)
    service = ServiceEnd(area)
    far_end = service.far_end.dup()
    worker = WorkerEnd(far_end, area)
    with service:
        pass
    worker.deliver(FRAME, b"jpg")
    assert not worker.wait_until_asked()
    far_end.close()
    area.close()


async def test_a_service_whose_worker_is_gone_gets_none(ends: tuple[ServiceEnd, WorkerEnd]) -> None:
    service, _ = ends
    service.far_end.close()
    service.ask()
    assert await asyncio.wait_for(service.receive(), 30) is None
    service.dismiss()
