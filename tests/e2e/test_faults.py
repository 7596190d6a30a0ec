"""Servers that die under a working consumer: nothing is lost, and events say what they lack."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.dataset import BUNDLE_DIR
from demo.services import fill_catalogue, run_framematch, service_environment
from framematch.vision.bundles.bundle import load_bundle
from framematch.vision.repository.model_repository import build_model_repository
from stack.kafka import KafkaServer
from stack.mongodb import MongoServer
from stack.triton import TritonServer
from tests.e2e.conftest import stack_of
from tests.e2e.models import retrained
from tests.e2e.site import Site
from tests.support import eventually, wait_until

Factory = Callable[..., Site]


@pytest.fixture
def site_with(  # noqa: PLR0917  # pytest passes fixtures by name
    kafka: KafkaServer,
    mongodb: MongoServer,
    start_triton: Callable[[Path], TritonServer],
    model_repository: Path,
    servers: object,
    tmp_path: Path,
) -> Iterator[Factory]:
    """A site of which some servers are this test's own, because it kills them."""
    assert servers, "the shared catalogue is there"
    with ExitStack() as stack:

        def make(
            own_kafka: KafkaServer | None = None,
            own_mongodb: MongoServer | None = None,
            own_triton: TritonServer | None = None,
        ) -> Site:
            own = [server for server in (own_kafka, own_mongodb, own_triton) if server]
            for server in own:
                stack.callback(server.stop)
                server.start()
            addresses = stack_of(
                (own_kafka or kafka).bootstrap_servers,
                (own_mongodb or mongodb).uri,
                (own_triton or start_triton(model_repository)).url,
            )
            if own_mongodb:
                fill_catalogue(service_environment(tmp_path / "import", addresses))
            return stack.enter_context(Site(addresses, tmp_path / "site", prefix="faults"))

        yield make


async def test_triton_killed_and_back_the_consumer_waits_and_loses_nothing(
    site_with: Factory, model_repository: Path, tmp_path: Path
) -> None:
    triton = TritonServer(tmp_path / "triton", model_repository)
    site = site_with(own_triton=triton)
    consumer = site.start("consume")
    early = await site.publish(40)
    await site.events(early)
    triton.kill()
    late = await site.publish(40)
    await eventually(lambda: "inference_retried" in site.log(), message="the consumer notices")
    triton.start()
    await site.events([*early, *late], timeout_s=90)
    consumer.check()


async def test_another_model_put_under_a_running_consumer_ends_it_with_one_line(
    site_with: Factory, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    build_model_repository(load_bundle(BUNDLE_DIR), repository)
    site = site_with(own_triton=TritonServer(tmp_path / "triton", repository))
    consumer = site.start("consume")
    await site.events(await site.publish(4))
    other = retrained(BUNDLE_DIR, tmp_path / "other")
    run_framematch("model", "build", "--from", str(other), "--out", str(repository), environment=site.environment)
    await eventually(lambda: not consumer.running, message="the consumer ends")
    last_line = site.log().rstrip().splitlines()[-1]
    assert last_line.startswith("framematch: Triton at")
    assert f"this process started with {BUNDLE_DIR.name}" in last_line


async def test_kafka_killed_and_back_every_frame_is_answered(site_with: Factory, tmp_path: Path) -> None:
    kafka = KafkaServer(tmp_path / "kafka")
    site = site_with(own_kafka=kafka)
    frames = await site.publish(300)
    consumer = site.start("consume")
    await site.read(site.topics.matches, 20)
    kafka.kill()
    kafka.start()
    await site.events(frames, timeout_s=90)
    consumer.check()


async def test_a_consumer_told_to_stop_while_kafka_is_away_ends_at_its_deadline_and_nothing_is_lost(
    site_with: Factory, tmp_path: Path
) -> None:
    kafka = KafkaServer(tmp_path / "kafka")
    site = site_with(own_kafka=kafka)
    frames = await site.publish(300)
    consumer = site.start("consume", FRAMEMATCH_SHUTDOWN_DEADLINE_S="2")
    await site.read(site.topics.matches, 20)
    kafka.kill()
    assert await asyncio.to_thread(consumer.terminate) == 1
    assert "framematch: the service was still busy 2 s after it was told to stop" in site.log()
    assert len(site.log().splitlines()) < 100, "aiokafka's floods are held back"
    kafka.start()
    site.start("consume")
    await site.events(frames)


async def test_mongodb_killed_events_go_on_and_say_where_their_metadata_is_from(
    site_with: Factory, tmp_path: Path
) -> None:
    mongodb = MongoServer(tmp_path / "mongodb")
    site = site_with(own_mongodb=mongodb)
    consumer = site.start("consume", FRAMEMATCH_MATCHING__METADATA_TTL_S="0.001")
    early = await site.publish(120)
    before = {event.product.id for event in await site.events(early) if event.product}
    mongodb.kill()
    late = await site.publish(120)
    events = await site.events([*early, *late])
    consumer.check()
    late_ids = {frame.id for frame in late}
    matched = [event for event in events if event.frame.id in late_ids and event.product]
    assert before
    assert matched
    assert {event.metadata_state for event in matched} == {"cached"}
    assert {event.product.id for event in matched if event.product} <= before


def test_an_edge_whose_camera_is_away_says_so_without_the_password(site_with: Factory) -> None:
    site = site_with()
    edge = site.start("edge", "--camera", "till-1=rtsp://user:canary@127.0.0.1:9/stream")
    wait_until(lambda: "camera_failed" in site.log(), message="the camera's failure in the log")
    edge.check()
    assert "canary" not in site.log()
