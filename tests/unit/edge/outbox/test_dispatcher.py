"""The outboxes of all cameras: which there are, and when they are removed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.outbox.dispatcher import Dispatcher
from edge.outbox.outbox import Outbox
from edge.sinks import Outgoing
from framematch.core.frames import Frame
from framematch.core.settings import EdgeSettings, KafkaSettings, SpoolSettings
from tests.support import eventually
from tests.unit.edge.outbox.scripted import FakeStats, ScriptedProducer
from tests.unit.edge.outbox.spool_program import new_spool, spooled


class ScriptedKafka(ScriptedProducer):
    """The producer of all cameras; it acknowledges at once what is sent while it is connected."""

    async def run(self) -> None:
        while True:
            self.acknowledge()
            await asyncio.sleep(0.001)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> ScriptedKafka:
    producer = ScriptedKafka()
    monkeypatch.setattr("edge.outbox.dispatcher.ReconnectingProducer", lambda _: producer)
    return producer


@pytest.fixture
async def dispatcher(kafka: ScriptedKafka, tmp_path: Path) -> AsyncIterator[Dispatcher]:
    """It runs, and finds frames of a camera that is not configured."""
    assert not kafka.connected
    left = new_spool(tmp_path / "p" / "old-1.sqlite")
    left.append([spooled(number) for number in (1, 2)])
    left.close()
    made = Dispatcher(
        KafkaSettings(bootstrap_servers="127.0.0.1:9", topic_prefix="p"),
        EdgeSettings(spool=SpoolSettings(folder=str(tmp_path), after_s=0.1)),
    )
    running = asyncio.create_task(made.run())
    await eventually(lambda: len(made.outboxes) == 1)
    yield made
    await made.finish(0.1)
    await running
    await made.close()


def cameras(dispatcher: Dispatcher) -> list[str]:
    return [outbox.camera for outbox in dispatcher.outboxes]


def spool_files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.sqlite*"))


async def put(dispatcher: Dispatcher, stats: FakeStats) -> None:
    outbox = dispatcher.outbox(stats.camera, stats, live=True)
    await outbox.put(Outgoing(Frame(stats.camera, 1_000_000, 1), b"jpeg", asyncio.get_running_loop().time()))


async def test_an_empty_outbox_is_removed_at_once_with_its_task(dispatcher: Dispatcher) -> None:
    before = asyncio.all_tasks()
    dispatcher.outbox("till-1", FakeStats(), live=True)
    await dispatcher.remove("till-1")
    assert "till-1" not in cameras(dispatcher)
    await eventually(lambda: asyncio.all_tasks() == before, message="its task has ended")


async def test_an_outbox_with_frames_is_removed_when_they_are_sent(
    dispatcher: Dispatcher, kafka: ScriptedKafka
) -> None:
    stats = FakeStats()
    await put(dispatcher, stats)
    await dispatcher.remove("till-1")
    assert "till-1" in cameras(dispatcher)
    kafka.renew()
    await eventually(lambda: "till-1" not in cameras(dispatcher))
    assert stats.published_frames == 1


async def test_a_camera_that_is_added_again_keeps_the_outbox_with_its_frames(
    dispatcher: Dispatcher, kafka: ScriptedKafka
) -> None:
    first, second = FakeStats(), FakeStats()
    await put(dispatcher, first)
    await dispatcher.remove("till-1")
    outbox = dispatcher.outbox("till-1", second, live=True)
    kafka.renew()
    await outbox.drained()
    await eventually(lambda: cameras(dispatcher) == ["till-1"], message="the outbox of the other camera is removed")
    assert (first.published_frames, second.published_frames) == (0, 1)


async def test_an_adopted_outbox_is_removed_when_its_frames_are_sent(
    dispatcher: Dispatcher, kafka: ScriptedKafka, tmp_path: Path
) -> None:
    assert cameras(dispatcher) == ["old-1"]
    kafka.renew()
    await eventually(lambda: not dispatcher.outboxes)
    assert len(kafka.written) == 2
    assert not spool_files(tmp_path)


async def test_a_camera_without_acknowledgements_is_not_hidden_by_one_that_has_them(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in (60.0, 0.1, 0.0):
        dispatcher.outbox(f"till-{seconds}", FakeStats(), live=True)
    monkeypatch.setattr(Outbox, "stalled_s", property(lambda outbox: float(outbox.camera.partition("till-")[2] or 0)))
    assert dispatcher.stalled_s == 60.0
    monkeypatch.setattr(Outbox, "stalled_s", 0.0)
    assert dispatcher.stalled_s == 0.0
