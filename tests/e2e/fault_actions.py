"""Actions that inject a fault into a run, and those that recover from it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from demo.services import Service
from framematch.core.events import MatchEvent
from framematch.core.kafka.clients import client_options, started
from tests.e2e.fault_run import FaultRun
from tests.e2e.site import log_lines
from tests.support import eventually, freeze, resume

Action = Callable[[FaultRun], Awaitable[object]]


async def do_nothing(_run: FaultRun) -> None:
    """Do nothing."""


# Consumers -----------------------------------------------------------------------------------------------------------


async def kill_consumer(run: FaultRun) -> None:
    """Send SIGKILL to the first consumer: it finishes nothing."""
    await asyncio.to_thread(run.first.kill)


async def start_another_consumer(run: FaultRun) -> None:
    """Start another consumer without waiting for it: it gets partitions once the first one's session has expired."""
    await run.start_consumer(ready=False)


async def freeze_consumer_until_another_takes_over(run: FaultRun) -> None:
    """Freeze the first consumer until another has its partitions; the first still regards them as its own."""
    freeze(run.first.pid)
    await _wait_processing(await run.start_consumer())


async def resume_consumer(run: FaultRun) -> None:
    """Resume the first consumer, and wait until it has joined the group again."""
    resume(run.first.pid)
    await eventually(lambda: len(log_lines(run.first.log, "partitions_assigned")) > 1, message="it has partitions")
    assert not log_lines(run.consumers[1].log, "transaction_fenced"), "the consumer that took over was fenced"


async def start_second_consumer(run: FaultRun) -> None:
    """Start a second consumer: the group rebalances while the first one processes batches."""
    await _wait_processing(await run.start_consumer())


async def stop_second_consumer(run: FaultRun) -> None:
    """Stop the second consumer: the group rebalances again."""
    await asyncio.to_thread(run.consumers[1].stop)


async def start_stop_and_kill_members(run: FaultRun) -> None:
    """Start, stop and kill members while others are joining."""
    second, third = await asyncio.gather(run.start_consumer(), run.start_consumer())
    await asyncio.gather(asyncio.to_thread(second.stop), asyncio.to_thread(third.kill), run.start_consumer())


async def _wait_processing(consumer: Service) -> None:
    frames = "framematch_consumer_frames_total"
    await eventually(lambda: sum(consumer.metric(frames)), timeout_s=60, message="it processes frames")


# Servers -------------------------------------------------------------------------------------------------------------


def kill_server(name: Literal["kafka", "mongodb", "triton"]) -> Action:
    """Send SIGKILL to that server."""

    async def action(run: FaultRun) -> None:
        await asyncio.to_thread(getattr(run.servers, name).kill)

    return action


def start_server(name: Literal["kafka", "mongodb", "triton"]) -> Action:
    """Start that server again, with the same data."""

    async def action(run: FaultRun) -> None:
        await asyncio.to_thread(getattr(run.servers, name).start)

    return action


def freeze_server(name: Literal["kafka", "triton"]) -> Action:
    """Send SIGSTOP to that server: connections stay open, and nothing answers."""

    async def action(run: FaultRun) -> None:
        freeze(getattr(run.servers, name).pid)

    return action


def resume_server(name: Literal["kafka", "triton"]) -> Action:
    """Send SIGCONT to that server."""

    async def action(run: FaultRun) -> None:
        resume(getattr(run.servers, name).pid)

    return action


async def kill_mongodb(run: FaultRun) -> None:
    """Kill MongoDB, and wait until events have cached metadata."""
    await kill_server("mongodb")(run)
    await run.subscriber.wait_for(lambda: _states(run.subscriber.events[-10:]) == {"cached"}, "metadata from the cache")


async def start_mongodb(run: FaultRun) -> None:
    """Start MongoDB again, and wait until events have fresh metadata."""
    await start_server("mongodb")(run)
    await run.subscriber.wait_for(lambda: _states(run.subscriber.events[-10:]) == {"fresh"}, "metadata is fresh again")


def _states(events: Iterable[MatchEvent]) -> set[str]:
    return {event.metadata_state for event in events if event.product}


async def make_model_return_another_shape(run: FaultRun) -> None:
    """Let the model return arrays that are no embeddings."""
    run.servers.model.inject("shape")


async def make_model_slow(run: FaultRun) -> None:
    """Let each request take some tenths of a second, so that batches pile up."""
    run.servers.model.inject("slow")
    before = len(run.subscriber.events)
    await run.subscriber.wait_for(lambda: len(run.subscriber.events) > before + 20, "frames are processed slowly")


async def recover_model(run: FaultRun) -> None:
    """Let the model return correct embeddings again."""
    run.servers.model.recover()


async def reject_output(run: FaultRun) -> None:
    """Let the broker reject every match event."""
    await _configure_matches(run, {"max.message.bytes": "100"})


async def accept_output(run: FaultRun) -> None:
    """Let the broker accept match events again."""
    await _configure_matches(run, {})


async def _configure_matches(run: FaultRun, config: dict[str, str]) -> None:
    """Set the configuration of the match events topic; what is not in `config` gets the broker's default."""
    resource = ConfigResource(ConfigResourceType.TOPIC, run.site.topics.matches, configs=config)
    async with started(AIOKafkaAdminClient(**client_options(run.site.kafka)), run.site.kafka) as admin:
        [response] = await admin.alter_configs([resource])
        assert [code for code, *_ in response.resources] == [0]


async def kill_coordinator(run: FaultRun) -> None:
    """Kill the coordinating broker, and wait until the group continues on the other one."""
    await kill_server("kafka")(run)
    before = len(run.subscriber.first_seen_s)
    await run.subscriber.wait_for(lambda: len(run.subscriber.first_seen_s) > before + 50, "outputs after the failover")
