"""How a service ends, and what it logs, when something it depends on has changed or is unreachable."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

from demo.dataset import BUNDLE_DIR
from demo.services import run_framematch
from framematch.core.local_stack import LocalStack
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision.served_models import list_served_models
from tests.conftest import running
from tests.e2e.fault_run import BreakableServers
from tests.e2e.models import retrained
from tests.e2e.site import Site, unique_prefix
from tests.repositories import tower_folder
from tests.support import eventually, wait_until


async def test_a_consumer_whose_model_is_not_served_any_more_ends_with_one_line(
    servers: LocalStack, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    build_model_repository(load_bundle(BUNDLE_DIR), repository)
    with (
        running(TritonServer(tmp_path / "triton", repository)) as triton,
        Site(replace(servers, triton_url=triton.url), tmp_path / "site", prefix=unique_prefix()) as site,
    ):
        consumer = site.start("consume")
        await site.events(await site.publish(4))
        triton.stop()
        shutil.rmtree(tower_folder(repository))
        triton.start()
        await eventually(lambda: not consumer.running, message="the consumer ends")
        [failed] = site.logged("service_failed")
    assert failed["error"].startswith(f"Triton at {triton.url} has no model clip_image_")


async def test_a_consumer_goes_on_with_its_model_when_another_one_is_built(servers: LocalStack, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    build_model_repository(load_bundle(BUNDLE_DIR), repository)
    with (
        running(TritonServer(tmp_path / "triton", repository)) as triton,
        Site(replace(servers, triton_url=triton.url), tmp_path / "site", prefix=unique_prefix()) as site,
    ):
        consumer = site.start("consume")
        before = await site.events(await site.publish(4))
        other = retrained(BUNDLE_DIR, tmp_path / "other")
        with_key = {**site.environment, "TRITON_REPOSITORY_KEY": triton.repository_key}
        run_framematch("model", "build", "--from", str(other), "--out", str(repository), environment=with_key)
        after = await site.events(await site.publish(4))
        assert consumer.running
        newest, _older = await list_served_models(triton.url)
    assert newest.manifest.name == "other"
    assert {event.model for event in (*before, *after)} == {before[0].model}


async def test_a_consumer_stopped_while_kafka_is_unreachable_ends_at_its_deadline_and_loses_nothing(
    breakable: BreakableServers, tmp_path: Path
) -> None:
    breakable.recover()
    with Site(breakable.stack, tmp_path, prefix=unique_prefix()) as site:
        site.environment["FRAMEMATCH_CONSUMER__SESSION_TIMEOUT_MS"] = "3000"  # the next consumer waits until it expires
        frames = await site.publish(300)
        consumer = site.start("consume", FRAMEMATCH_SHUTDOWN_DEADLINE_S="2")
        await site.read(site.topics.matches, 20)
        breakable.kafka.kill()
        assert await asyncio.to_thread(consumer.terminate) == 1
        [failed] = site.logged("service_failed")
        assert failed["error"] == "the service was still busy 2 s after the signal to stop"
        assert len(site.log().splitlines()) < 100, "aiokafka's repeated messages are suppressed"
        breakable.recover()
        site.start("consume")
        await site.events(frames)


def test_an_edge_logs_an_unreachable_camera_without_its_password(site: Site) -> None:
    edge = site.start("edge", "--camera", "till-1=rtsp://user:canary@127.0.0.1:9/stream")
    wait_until(lambda: "camera_failed" in site.log(), message="the camera's failure in the log")
    edge.check()
    assert "canary" not in site.log()
