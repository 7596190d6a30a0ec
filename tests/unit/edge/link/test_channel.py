"""The channel between a camera's process and the service: requests, answers, and a peer that is gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from edge.link.channel import ServiceChannel, WorkerChannel
from edge.link.messages import Crashed, Ended, Failed, FrameReady, Message, Opened, pack, unpack
from edge.link.shared_buffer import SharedBuffer

FRAME = FrameReady(3, 7, 1_000, 2_000, 3.5, 3.6, "rtcp", ((1, 2, 3, 4),))


@pytest.fixture
async def channels() -> AsyncIterator[tuple[ServiceChannel, WorkerChannel]]:
    buffer = SharedBuffer.create(100)
    with ServiceChannel(buffer) as service:
        yield service, WorkerChannel(service.peer, buffer)
    buffer.close()


@pytest.mark.parametrize("message", [Opened(640, 480), FRAME, Ended(), Failed("no frame"), Crashed("x", "y")])
def test_a_message_can_be_packed_and_unpacked(message: Message) -> None:
    assert unpack(pack(message)) == message


async def test_a_requested_frame_arrives_with_its_jpeg(channels: tuple[ServiceChannel, WorkerChannel]) -> None:
    service, worker = channels
    service.request()
    assert worker.wait_for_request()
    worker.send_frame(FRAME, b"jpg")
    message = await asyncio.wait_for(service.receive(), 30)
    assert message == FRAME
    assert service.jpeg(FRAME) == b"jpg"


async def test_a_worker_gets_no_requests_after_the_shutdown(
    channels: tuple[ServiceChannel, WorkerChannel],
) -> None:
    service, worker = channels
    service.shut_down()
    assert not worker.wait_for_request()
    worker.send(Ended())
    assert await asyncio.wait_for(service.receive(), 30) == Ended()


async def test_a_worker_whose_service_is_gone_gets_no_requests_and_no_errors() -> None:
    buffer = SharedBuffer.create(100)
    service = ServiceChannel(buffer)
    peer = service.peer.dup()
    worker = WorkerChannel(peer, buffer)
    with service:
        pass
    worker.send_frame(FRAME, b"jpg")
    assert not worker.wait_for_request()
    peer.close()
    buffer.close()


async def test_a_service_whose_worker_is_gone_receives_none(channels: tuple[ServiceChannel, WorkerChannel]) -> None:
    service, _ = channels
    service.peer.close()
    service.request()
    assert await asyncio.wait_for(service.receive(), 30) is None
    service.shut_down()


async def test_the_last_message_arrives_though_the_worker_ends_with_a_request_unread(
    channels: tuple[ServiceChannel, WorkerChannel],
) -> None:
    service, worker = channels
    service.request()
    worker.send(Opened(640, 480))
    worker.send(Ended())
    service.peer.close()
    received = [await asyncio.wait_for(service.receive(), 30) for _ in range(3)]
    assert received == [Opened(640, 480), Ended(), None]
