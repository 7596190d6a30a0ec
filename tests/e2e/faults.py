"""The fault matrix: what breaks under a working consumer, how it is mended, and what must be seen of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from demo.services import Service
from framematch.core.events import MatchEvent
from framematch.core.kafka import client_options, started
from tests.e2e.scene import Scene, freeze, thaw
from tests.e2e.shots import Shot, photos, with_a_picture_without_embedding, with_poison
from tests.e2e.site import log_lines
from tests.support import eventually

Delivery = Literal["at_least_once", "exactly_once"]
Step = Callable[[Scene], Awaitable[object]]

BOTH: tuple[Delivery, ...] = ("at_least_once", "exactly_once")


async def nothing(_scene: Scene) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Fault:
    """A row of the matrix.

    `broken` is waited for between the two steps: log events, and what /readyz says. `counted` are metrics that some
    consumer has counted in the end. `recovers_from`: from which step on the longest pause is measured.
    `repeats`: whether events may come again where delivery is at least once. `writers`: how many consumers may publish
    of one camera at the same time; of one alone, what comes again goes on in order. `kafka_is_away` between the steps.
    """

    name: str
    break_it: Step = nothing
    mend_it: Step = nothing
    deliveries: tuple[Delivery, ...] = BOTH
    shots: Callable[[], Iterator[Shot]] = photos
    settings: Mapping[str, str] = field(default_factory=dict)
    logged: tuple[str, ...] = ()
    unready: tuple[str, str] | None = None
    logged_in_the_end: tuple[str, ...] = ()
    counted: tuple[tuple[str, Mapping[str, str]], ...] = ()
    recovers_from: Literal["break", "mend"] = "mend"
    repeats: bool = False
    writers: int = 1
    kafka_is_away: bool = False


# Consumers -----------------------------------------------------------------------------------------------------------


async def kill_the_consumer(scene: Scene) -> None:
    """SIGKILL: it finishes nothing."""
    await asyncio.to_thread(scene.first.kill)


async def start_another(scene: Scene) -> None:
    """Another consumer, which has to wait until the group misses the first."""
    await scene.start_consumer(ready=False)


async def freeze_the_consumer_until_another_works(scene: Scene) -> None:
    """The first still believes that it has the partitions which another has by now."""
    freeze(scene.first)
    await _works(await scene.start_consumer())


async def thaw_the_consumer(scene: Scene) -> None:
    """It goes on in the middle of what it did, and joins the group anew."""
    thaw(scene.first)
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
        freeze(getattr(scene.servers, name))

    return stop


def thawed(name: Literal["kafka", "triton"]) -> Step:
    """SIGCONT."""

    async def go_on(scene: Scene) -> None:
        thaw(getattr(scene.servers, name))

    return go_on


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


COORDINATOR_LOST = Fault(
    "the broker that coordinates the group is killed, and another one is there",
    lose_the_coordinator,
    started_again("kafka"),
    recovers_from="break",
    repeats=True,
)

FROZEN_CONSUMER = Fault(
    "the consumer is frozen beyond its session and comes back",
    freeze_the_consumer_until_another_works,
    thaw_the_consumer,
    counted=(("rebalances_total", {}),),
    recovers_from="break",
    repeats=True,
    writers=2,
)

FAULTS = (
    Fault(
        "the consumer is killed and another takes over",
        kill_the_consumer,
        start_another,
        settings={"FRAMEMATCH_CONSUMER__COMMIT_INTERVAL_S": "60"},
        recovers_from="break",
        repeats=True,
    ),
    replace(FROZEN_CONSUMER, deliveries=("at_least_once",)),
    replace(
        FROZEN_CONSUMER,
        deliveries=("exactly_once",),
        settings={"FRAMEMATCH_CONSUMER__TRANSACTION_INTERVAL_MS": "500"},  # so that it is frozen with answers in hand
        logged_in_the_end=("transaction_fenced",),
        counted=(("commits_total", {"outcome": "fenced"}),),
    ),
    Fault(
        "a second consumer joins and leaves",
        start_a_second,
        stop_the_second,
        logged_in_the_end=("partitions_revoked",),
        counted=(("rebalances_total", {}),),
        recovers_from="break",
    ),
    Fault("members join, leave and die", join_and_leave, recovers_from="break", repeats=True),
    Fault(
        "Triton is killed and comes back",
        killed("triton"),
        started_again("triton"),
        deliveries=("at_least_once",),
        logged=("inference_retried",),
        unready=("triton", "Triton"),
        counted=(("inference_retries_total", {"reason": "inference_retried"}),),
    ),
    Fault(
        "Triton is frozen and comes back",
        frozen("triton"),
        thawed("triton"),
        deliveries=("exactly_once",),
        settings={"FRAMEMATCH_TRITON__TIMEOUT_S": "1"},
        logged=("inference_retried",),
        unready=("triton", "Triton"),
        counted=(("inference_retries_total", {"reason": "inference_retried"}),),
    ),
    Fault(
        "MongoDB is killed and comes back",
        kill_mongodb,
        start_mongodb,
        deliveries=("at_least_once",),
        settings={"FRAMEMATCH_MATCHING__METADATA_TTL_S": "0.001"},
        logged=("metadata_unavailable",),
        logged_in_the_end=("metadata_available",),
        counted=(("metadata_total", {"state": "cached"}),),
    ),
    Fault("Triton is slow", make_the_model_slow, repair_the_model, deliveries=("at_least_once",)),
    Fault(
        "the model finds no embedding for some pictures",
        shots=with_a_picture_without_embedding,
        logged_in_the_end=("pictures_isolated", "frame_deadlettered"),
        counted=(("frames_total", {"outcome": "deadletter", "reason": "invalid_embedding"}),),
    ),
    Fault(
        "the model answers in another shape",
        make_the_model_answer_in_another_shape,
        repair_the_model,
        deliveries=("exactly_once",),
        logged=("model_output_invalid",),
        unready=("triton", "the model is to blame"),
        counted=(("inference_retries_total", {"reason": "model_output_invalid"}),),
    ),
    Fault(
        "the topic of match events is not writable",
        refuse_output,
        take_output,
        deliveries=("at_least_once",),
        logged=("output_refused",),
        unready=("output", "MessageSizeTooLarge"),
        counted=(("output_retries_total", {}),),
        repeats=True,
    ),
    Fault(
        "the topic of match events is not writable",
        refuse_output,
        take_output,
        deliveries=("exactly_once",),
        logged=("transaction_failed",),
        unready=("output", "a transaction failed"),
        counted=(("commits_total", {"outcome": "failed"}),),
    ),
    Fault(
        "the broker, and with it the coordinator, is killed and comes back",
        killed("kafka"),
        started_again("kafka"),
        unready=("kafka", "Kafka does not answer"),
        logged=("kafka_unavailable",),
        logged_in_the_end=("kafka_available",),
        counted=(("kafka_outages_total", {}),),
        repeats=True,
        kafka_is_away=True,
    ),
    Fault(
        "the broker is frozen and comes back",
        frozen("kafka"),
        thawed("kafka"),
        settings={"FRAMEMATCH_KAFKA__REQUEST_TIMEOUT_MS": "1000"},
        unready=("kafka", "Kafka does not answer"),
        logged=("kafka_unavailable",),
        logged_in_the_end=("kafka_available",),
        counted=(("kafka_outages_total", {}),),
        repeats=True,
        kafka_is_away=True,
    ),
    Fault(
        "some records are poison",
        shots=with_poison,
        logged_in_the_end=("frame_deadlettered",),
        counted=(("frames_total", {"outcome": "deadletter", "reason": "headers"}),),
    ),
)
