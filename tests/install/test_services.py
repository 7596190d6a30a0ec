"""What a user of each extra runs, against the real servers."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest

from demo.dataset import BUNDLE_DIR, DATA_DIR
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.paths import cache_dir
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack import control
from framematch.stack.kafka import KafkaServer
from framematch.stack.mongodb import MongoServer
from framematch.stack.server import ReservedPort
from framematch.stack.triton import TritonServer
from tests.install.conftest import RECIPES
from tests.install.environments import Installation, clean_environment
from tests.integration.edge_service import write_video
from tests.support import wait_until

pytestmark = pytest.mark.integration

Installed = Callable[[str], Installation]

_PRODUCTS = 4
_EXIT_TIMEOUT_S = 60
_SUBSCRIBE = """
import asyncio
from framematch import subscribe

async def main():
    async with asyncio.timeout(60), subscribe(start="earliest") as events:
        async for event in events:
            print(event.frame.camera, event.decision, event.product.id)
            return

asyncio.run(main())
"""


def with_extra(part: str) -> list[str]:
    """The environments that a user of this service may have, but "all", which has its own test."""
    return [name for name in RECIPES if part in name]


@pytest.fixture(scope="module")
def triton(start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    repository = tmp_path_factory.mktemp("repository")
    build_model_repository(load_bundle(BUNDLE_DIR), repository)
    return start_triton(repository)


@pytest.fixture
def environment(kafka: KafkaServer, mongodb: MongoServer, triton: TritonServer) -> dict[str, str]:
    """The settings of a user whose topics, group and database no other test uses."""
    name = f"install-{uuid.uuid4().hex[:8]}"
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_GROUP_ID": name,
        "FRAMEMATCH_KAFKA__TOPIC_PREFIX": name,
        "FRAMEMATCH_KAFKA__PARTITIONS": "1",
        "MONGODB_URI": mongodb.uri,
        "FRAMEMATCH_MONGODB__DATABASE": name,
        "TRITON_URL": triton.url,
    }


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", seconds=1)


@pytest.mark.parametrize("name", with_extra("edge"))
def test_the_edge_reads_a_video(name: str, installed: Installed, video: Path) -> None:
    done = installed(name).framematch("edge", "--camera", f"till-1={video}", "--dry-run", "--json", "--seconds", "2")
    assert done.code == 0, done.output
    (probe,) = json.loads(done.stdout)
    assert (probe["camera"], probe["state"], probe["frames"]) == ("till-1", "ended", 5)


@pytest.mark.parametrize("name", with_extra("consumer"))
def test_a_catalogue_becomes_events_that_a_subscriber_reads(
    name: str, installed: Installed, environment: dict[str, str], tmp_path: Path
) -> None:
    user, subscriber = installed(name), installed("base")
    products = small_catalogue(tmp_path / "products.csv")
    run(user, environment, "catalog", "import", str(products), "--images", str(DATA_DIR))
    run(user, environment, "catalog", "build")
    product = asyncio.run(publish_product_photo(environment))
    with running(user, environment, tmp_path, "consume") as consumer:
        done = subscriber.script(_SUBSCRIBE, environment=environment)
        log = (tmp_path / "consume.log").read_text()
        assert done.stdout.split() == ["till-1", "match", product], done.output + log
        consumer.send_signal(signal.SIGTERM)
        assert consumer.wait(_EXIT_TIMEOUT_S) == 0
    run(user, environment, "doctor")
    assert json.loads(first_watched_event(subscriber, environment, tmp_path))["product"]["id"] == product


def test_the_api_matches_a_photo_for_whoever_has_a_key(
    installed: Installed, environment: dict[str, str], tmp_path: Path
) -> None:
    user, photo = installed("image api"), DATA_DIR / "images" / "granny-smith.jpg"
    products = small_catalogue(tmp_path / "products.csv")
    run(user, environment, "catalog", "import", str(products), "--images", str(DATA_DIR))
    run(user, environment, "catalog", "build")
    key = user.framematch("api-key", "create", "me", "--scope", "match", environment=environment).stdout.strip()
    port = ReservedPort()
    with running(user, {**environment, "FRAMEMATCH_API__PORT": str(port.number)}, tmp_path, "api") as api:
        url = f"http://{port.address}"
        wait_until(lambda: answers(f"{url}/readyz"), timeout_s=60, message="the API is ready")
        assert httpx.post(f"{url}/v1/match", files={"image": photo.read_bytes()}).status_code == 401
        with_key = {"Authorization": f"Bearer {key}"}
        found = httpx.post(f"{url}/v1/match", files={"image": photo.read_bytes()}, headers=with_key, timeout=30)
        assert found.json()["results"][0]["regions"][0]["candidates"], found.text
        assert httpx.get(f"{url}/docs/swagger-ui.css").status_code == 200
        api.send_signal(signal.SIGTERM)
        assert api.wait(_EXIT_TIMEOUT_S) == 0


def test_the_archive_runs_with_its_extra_alone(
    installed: Installed, environment: dict[str, str], tmp_path: Path
) -> None:
    port = ReservedPort()
    ports = {"FRAMEMATCH_HTTP__PORT": str(port.number)}
    with running(installed("archive"), {**environment, **ports}, tmp_path, "archive") as archive:
        wait_until(lambda: answers(f"http://{port.address}/readyz"), timeout_s=60, message="the archive is ready")
        archive.send_signal(signal.SIGTERM)
        assert archive.wait(_EXIT_TIMEOUT_S) == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("name", ["model", "image tools"])
def test_a_model_is_built_and_compared_with_its_reference(
    name: str, installed: Installed, environment: dict[str, str], triton: TritonServer, tmp_path: Path
) -> None:
    user, repository = installed(name), tmp_path / "repository"
    environment["TRITON_REPOSITORY_KEY"] = triton.repository_key
    run(user, environment, "model", "build", "--from", str(BUNDLE_DIR), "--out", str(repository))
    assert len(list(repository.glob("clip_image_*/config.pbtxt"))) == 1
    run(user, environment, "model", "check", "--from", str(BUNDLE_DIR))


@pytest.fixture
def local_servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings of a user who has no servers yet; those that a test starts are stopped at its end."""
    own = {"FRAMEMATCH_STATE_DIR": str(tmp_path / "state"), "FRAMEMATCH_CACHE_DIR": str(cache_dir())}
    with patch.dict(os.environ, own):
        yield own
        control.down()


def test_the_extra_stack_alone_starts_checks_and_stops_servers(
    installed: Installed, local_servers: dict[str, str]
) -> None:
    user = installed("stack")
    run(user, local_servers, "stack", "up", "--only", "mongodb,mediamtx")
    run(user, local_servers, "stack", "status")
    done = user.framematch("doctor", environment=local_servers)
    assert "pip install 'framematch[consumer,cpu]'" in done.stdout
    run(user, local_servers, "stack", "down")
    assert user.framematch("stack", "status", environment=local_servers).code == 1


def test_a_wheel_alone_leads_from_no_servers_to_a_healthy_installation(
    installed: Installed, local_servers: dict[str, str], tmp_path: Path
) -> None:
    user, models = installed("all"), str(tmp_path / "models")
    products = tmp_path / "products.csv"
    products.write_bytes((DATA_DIR / "catalog.csv").read_bytes())
    run(user, local_servers, "stack", "up", "--model-repository", models)
    run(user, local_servers, "model", "build", "--from", str(BUNDLE_DIR), "--out", models)
    run(user, local_servers, "catalog", "import", str(products), "--images", str(DATA_DIR))
    run(user, local_servers, "catalog", "build")
    run(user, local_servers, "topics", "create")
    run(user, local_servers, "doctor")
    run(user, local_servers, "stack", "down")


def test_what_needs_no_extra_reads_the_topics(installed: Installed, environment: dict[str, str]) -> None:
    user = installed("base")
    run(user, environment, "topics", "create")
    run(user, environment, "topics", "list")
    run(user, environment, "deadletter", "list")
    done = user.framematch("doctor", environment=environment)
    assert done.code == 1
    assert "pip install 'framematch[consumer,cpu]'" in done.stdout


def run(user: Installation, environment: dict[str, str], *arguments: str) -> None:
    done = user.framematch(*arguments, environment=environment)
    assert done.code == 0, done.output


@contextmanager
def running(
    user: Installation, environment: dict[str, str], folder: Path, *arguments: str, stdout: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command in the background, which logs to a file named after it."""
    with (
        (folder / f"{arguments[0]}.log").open("w") as log,
        subprocess.Popen(
            [user.command, *arguments], cwd=folder, env=clean_environment(folder, environment), text=True,
            stdout=log if stdout is None else stdout, stderr=log,
        ) as process,
    ):  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def small_catalogue(file: Path) -> Path:
    """The first products of the demo's catalogue."""
    file.write_text("\n".join((DATA_DIR / "catalog.csv").read_text().splitlines()[: _PRODUCTS + 1]) + "\n")
    return file


async def publish_product_photo(environment: dict[str, str]) -> str:
    """Publish the first product's own photo as a frame of camera till-1; returns the product's id."""
    with (DATA_DIR / "catalog.csv").open(newline="") as file:
        product = next(csv.DictReader(file))
    kafka = KafkaSettings(
        bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"],
        topic_prefix=environment["FRAMEMATCH_KAFKA__TOPIC_PREFIX"],
        partitions=1,
    )
    await ensure_topics(kafka)
    frame = Frame("till-1", now_us(), 0)
    async with started(new_producer(kafka), kafka) as producer:
        await producer.send_and_wait(
            Topics(kafka.topic_prefix).frames,
            (DATA_DIR / product["image"]).read_bytes(),
            key=frame.camera.encode(),
            headers=frame_headers(frame),
        )
    return product["id"]


def first_watched_event(user: Installation, environment: dict[str, str], folder: Path) -> str:
    """The first line that `framematch watch` prints; Ctrl-C ends it."""
    with running(user, environment, folder, "watch", "--from-beginning", "--json", stdout=subprocess.PIPE) as watch:
        assert watch.stdout is not None
        line = watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        assert watch.wait(_EXIT_TIMEOUT_S) == 0
    return line
