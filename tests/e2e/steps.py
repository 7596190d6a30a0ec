"""What a fault does to a scene, step by step: how it breaks, and how it is mended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from demo.services import Service
from framematch.core.events import MatchEvent
from framematch.core.kafka.clients import client_options, started
from tests.e2e.scene import Scene
from tests.e2e.site import log_lines
from tests.support import eventually, go_on, halt

Step = Callable[[Scene], Awaitable[object]]


async def nothing(_scene: Scene) -> None:
    """Do nothing."""


# Consumers -----------------------------------------------------------------------------------------------------------


async def kill_the_consumer(scene: Scene) -> None:
    """SIGKILL: it finishes nothing."""
    await asyncio.to_thread(scene.first.kill)


async def start_another(scene: Scene) -> None:
    """Another consumer, which has to wait until the group misses the first."""
    await scene.start_consumer(ready=False)


async def freeze_the_consumer_until_another_works(scene: Scene) -> None:
    """The first still believes that it has the partitions which another has by now."""
    halt(scene.first.pid)
    await _works(await scene.start_consumer())


async def thaw_the_consumer(scene: Scene) -> None:
    """It goes on in the middle of what it did, and joins the group anew."""
    go_on(scene.first.pid)
    await eventually(lambda: len(log_lines(scene.first.log, "partitions_assigned")) > 1, message="it is a member again")
    assert not log_lines(scene.consumers[1].log, "transaction_fenced"), "who took over is left alone"


async def start_a_second(scene: Scene) -> None:
    """The group rebalances in the middle of the first one's batches."""
    await _works(await scene.start_consumer())


async def stop_the_second(scene: Scene) -> None:
    """And again."""
    await asyncio.to_thread(scene.consumers[1].stop)


async def join_and_leave(scene: Scene) -> None:
    """Members join, leave and die while others are joining."""
    second, third = await asyncio.gather(scene.start_consumer(), scene.start_consumer())
    await asyncio.gather(
        asyncio.to_thread(second.stop), asyncio.to_thread(third.kill), scene.start_consumer()
    )  # fmt: skip


async def _works(consumer: Service) -> None:
    await eventually(
        lambda: sum(consumer.metric("framematch_consumer_frames_total")), timeout_s=60, message="the other one answers"
    )


# Servers -------------------------------------------------------------------------------------------------------------


def killed(name: Literal["kafka", "mongodb", "triton"]) -> Step:
    """SIGKILL that server."""

    async def kill(scene: Scene) -> None:
        await asyncio.to_thread(getattr(scene.servers, name).kill)

    return kill


def started_again(name: Literal["kafka", "mongodb", "triton"]) -> Step:
    """The same server with the same data."""

    async def start(scene: Scene) -> None:
        await asyncio.to_thread(getattr(scene.servers, name).start)

    return start


def frozen(name: Literal["kafka", "triton"]) -> Step:
    """SIGSTOP: connections stay, and nothing answers."""

    async def stop(scene: Scene) -> None:
        halt(getattr(scene.servers, name).pid)

    return stop


def thawed(name: Literal["kafka", "triton"]) -> Step:
    """SIGCONT."""

    async def resume(scene: Scene) -> None:
        go_on(getattr(scene.servers, name).pid)

    return resume


async def kill_mongodb(scene: Scene) -> None:
    """Products that were seen before are still known."""
    await killed("mongodb")(scene)
    await scene.watcher.until(lambda: _states(scene.watcher.events[-10:]) == {"cached"}, "metadata from memory")


async def start_mongodb(scene: Scene) -> None:
    """It is asked again after a while."""
    await started_again("mongodb")(scene)
    await scene.watcher.until(lambda: _states(scene.watcher.events[-10:]) == {"fresh"}, "metadata is fresh again")


def _states(events: Iterable[MatchEvent]) -> set[str]:
    return {event.metadata_state for event in events if event.product}


async def make_the_model_answer_in_another_shape(scene: Scene) -> None:
    """Nothing that it answers is an embedding."""
    scene.servers.model.break_down("shape")


async def make_the_model_slow(scene: Scene) -> None:
    """Each request takes some tenths of a second; batches pile up."""
    scene.servers.model.break_down("slow")
    before = len(scene.watcher.events)
    await scene.watcher.until(lambda: len(scene.watcher.events) > before + 20, "slow work goes on")


async def repair_the_model(scene: Scene) -> None:
    """It answers as it should."""
    scene.servers.model.recover()


async def refuse_output(scene: Scene) -> None:
    """The broker takes no match event any more."""
    await _configure_matches(scene, {"max.message.bytes": "100"})


async def take_output(scene: Scene) -> None:
    """It does again."""
    await _configure_matches(scene, {})


async def _configure_matches(scene: Scene, config: dict[str, str]) -> None:
    """All that differs from the broker's defaults."""
    resource = ConfigResource(ConfigResourceType.TOPIC, scene.site.topics.matches, configs=config)
    async with started(AIOKafkaAdminClient(**client_options(scene.site.kafka)), scene.site.kafka) as admin:
        [answer] = await admin.alter_configs([resource])
        assert [code for code, *_ in answer.resources] == [0]


async def lose_the_coordinator(scene: Scene) -> None:
    """The other broker takes over its part, and the group goes on there."""
    await killed("kafka")(scene)
    seen = len(scene.watcher.seen_at_s)
    await scene.watcher.until(lambda: len(scene.watcher.seen_at_s) > seen + 50, "work goes on with the other broker")
