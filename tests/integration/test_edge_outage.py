"""`framematch edge` while Kafka is away: frames wait on disk, come in order and marked, and none is lost unseen."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from framematch.core.frames import Frame, parse_frame
from stack.kafka import KafkaServer
from stack.mediamtx import MediaMtxServer
from tests.integration.edge_service import (
    EdgeService,
    new_prefix,
    publishing,
    quick_edge,
    read_statuses,
    read_topic,
    write_images,
    write_video,
)
from tests.support import go_on, halt, wait_until

pytestmark = pytest.mark.integration

QUICK = {
    "FRAMEMATCH_EDGE__FPS": "15",
    "FRAMEMATCH_KAFKA__REQUEST_TIMEOUT_MS": "2000",
    "FRAMEMATCH_EDGE__SPOOL__AFTER_S": "0.5",
}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "camera.mp4", seconds=2, fps=15)


@pytest.fixture
def camera(rtsp: MediaMtxServer, video: Path) -> Iterator[str]:
    """The URL of a stream that runs."""
    url = f"{rtsp.url}/{new_prefix()}"
    with publishing(video, url):
        yield url


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaServer]:
    server = KafkaServer(tmp_path / "kafka")
    server.start()
    yield server
    server.kill()


@contextmanager
def edge(folder: Path, broker: KafkaServer, prefix: str, camera: str, **settings: str) -> Iterator[EdgeService]:
    name, _, source = camera.partition("=")
    with quick_edge(folder, broker.bootstrap_servers, prefix, {name: source}, **{**QUICK, **settings}) as service:
        yield service


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 300 KB."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def frames_of(records: list[ConsumerRecord]) -> list[Frame]:
    return [parse_frame(record.key, record.headers) for record in records]


def frames_in(broker: KafkaServer, prefix: str) -> list[Frame]:
    return frames_of(read_topic(broker.bootstrap_servers, f"{prefix}.frames"))


def sequences(frames: list[Frame]) -> list[int]:
    return [frame.sequence for frame in frames]


def overruns(service: EdgeService) -> int:
    """Frames that a busy machine has cost so far: newer ones took their place before anything else was done to them."""
    return int(service.metric("frames_dropped_total", stage="slot", reason="overrun"))


def assert_each_once_in_order(found: list[int], *, overrun: int) -> None:
    """None is missing but some of those that were overrun."""
    assert found == sorted(set(found))
    assert found[-1] + 1 - len(found) <= overrun


def spooled(service: EdgeService) -> float:
    return service.metric("spooled_frames")


def wait_for_replay(service: EdgeService) -> None:
    wait_until(lambda: spooled(service) == 0, timeout_s=60, message="the spool is empty again")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("outage", ["killed", "frozen"])
def test_after_an_outage_every_frame_is_in_the_topic_once_and_in_order(
    broker: KafkaServer, camera: str, tmp_path: Path, outage: str
) -> None:
    prefix = new_prefix()
    with edge(tmp_path, broker, prefix, f"till-1={camera}") as service:
        wait_until(lambda: service.metric("frames_published_total") > 5)
        if outage == "killed":
            broker.kill()
        else:
            halt(broker.pid)
        # Longer than the producer's own timeout.
        wait_until(lambda: spooled(service) > 60, timeout_s=60, message="frames wait on disk")
        if outage == "killed":
            broker.start()
        else:
            go_on(broker.pid)
        wait_for_replay(service)
        published = service.metric("frames_published_total")
        wait_until(lambda: service.metric("frames_published_total") > published + 5, message="and new ones flow")
        assert service.metric("frames_dropped_total") <= overruns(service)
        assert service.terminate() == 0
    frames = frames_in(broker, prefix)
    last = read_statuses(broker.bootstrap_servers, prefix, "till-1")[-1]
    assert last.drops.get("stopped", 0) <= 2
    assert set(last.drops) <= {"stopped", "overrun"}
    found = sequences(frames)
    assert_each_once_in_order(found, overrun=last.drops.get("overrun", 0))
    replayed = [frame.sequence for frame in frames if frame.replayed]
    assert len(replayed) > 30
    assert replayed == found[found.index(replayed[0]) : found.index(replayed[-1]) + 1]


@pytest.mark.timeout(180)
def test_what_a_full_spool_gives_up_is_the_oldest_and_is_counted_exactly(
    broker: KafkaServer, camera: str, tmp_path: Path
) -> None:
    prefix = new_prefix()
    with edge(tmp_path, broker, prefix, f"till-1={camera}", FRAMEMATCH_EDGE__SPOOL__MAX_MB="0.05") as service:
        wait_until(lambda: service.metric("frames_published_total") > 5)
        broker.kill()
        wait_until(lambda: service.metric("frames_dropped_total", stage="spool", reason="full") > 20, timeout_s=60)
        broker.start()
        wait_for_replay(service)
        assert service.terminate() == 0
        logged = sum(line["count"] for line in service.events("frames_dropped") if line["reason"] == "full")
    found = sequences(frames_in(broker, prefix))
    assert found == sorted(set(found))
    missing = sorted(set(range(found[-1] + 1)) - set(found))
    drops = read_statuses(broker.bootstrap_servers, prefix, "till-1")[-1].drops
    assert logged == drops["full"]
    assert drops["full"] <= len(missing) <= drops["full"] + drops.get("overrun", 0), drops
    in_a_row = [len(list(run)) for _, run in groupby(enumerate(missing), lambda numbered: numbered[1] - numbered[0])]
    assert max(in_a_row) >= drops["full"], "those before and after are there, so the oldest went"


@pytest.mark.timeout(180)
def test_what_a_killed_edge_had_on_disk_is_sent_by_the_next_one(
    broker: KafkaServer, camera: str, tmp_path: Path
) -> None:
    prefix = new_prefix()
    with edge(tmp_path, broker, prefix, f"till-1={camera}") as first:
        wait_until(lambda: first.metric("frames_published_total") > 5)
        broker.kill()
        wait_until(lambda: spooled(first) > 30, timeout_s=60)
        on_disk, overrun = int(spooled(first)), overruns(first)
        first.kill()
    broker.start()
    before = sequences(frames_in(broker, prefix))
    # Another camera: what waits is sent whether or not its camera is still there.
    images = write_images(tmp_path / "images", 3)
    with edge(tmp_path, broker, prefix, f"shelf={images}") as second:
        assert second.exit_code() == 0
    found = [frame.sequence for frame in frames_in(broker, prefix) if frame.camera == "till-1"]
    # What was in flight may be there twice, as it is not known whether the broker had it.
    assert_each_once_in_order(sorted(set(found)), overrun=overrun)
    assert len(set(found)) >= len(before) + on_disk
    assert found[len(before) :] == sorted(found[len(before) :])


@pytest.mark.timeout(180)
def test_a_full_spool_survives_the_death_of_the_edge(broker: KafkaServer, camera: str, tmp_path: Path) -> None:
    """The next start sends what the bounds had left: the newest, without a gap."""
    prefix = new_prefix()
    with edge(tmp_path, broker, prefix, f"till-1={camera}", FRAMEMATCH_EDGE__SPOOL__MAX_MB="0.05") as first:
        wait_until(lambda: first.metric("frames_published_total") > 5)
        broker.kill()
        wait_until(lambda: first.metric("frames_dropped_total", stage="spool", reason="full") > 20, timeout_s=60)
        on_disk, overrun = int(spooled(first)), overruns(first)
        first.kill()
    broker.start()
    before = len(set(sequences(frames_in(broker, prefix))))
    with edge(tmp_path, broker, prefix, f"shelf={write_images(tmp_path / 'images', 3)}") as second:
        assert second.exit_code() == 0
    replayed = [frame.sequence for frame in frames_in(broker, prefix) if frame.camera == "till-1" and frame.replayed]
    newest = [number for number in replayed if number >= before + 20]
    assert_each_once_in_order([number - newest[0] for number in newest], overrun=overrun)
    assert len(newest) >= on_disk - 2  # what was evicted between the metric and the kill


@pytest.mark.timeout(180)
def test_a_full_disk_costs_frames_that_are_counted_and_nothing_else(
    broker: KafkaServer, camera: str, small_disk: Path, tmp_path: Path
) -> None:
    prefix = new_prefix()
    with edge(tmp_path, broker, prefix, f"till-1={camera}", FRAMEMATCH_EDGE__SPOOL__FOLDER=str(small_disk)) as service:
        wait_until(lambda: service.metric("frames_published_total") > 5)
        broker.kill()
        wait_until(lambda: service.metric("frames_dropped_total", reason="spool_failed") > 20, timeout_s=60)
        broker.start()
        wait_for_replay(service)
        published = service.metric("frames_published_total")
        wait_until(lambda: service.metric("frames_published_total") > published + 5, message="new frames flow")
        assert service.terminate() == 0
    found = sequences(frames_in(broker, prefix))
    assert found == sorted(set(found))
    drops = read_statuses(broker.bootstrap_servers, prefix, "till-1")[-1].drops
    lost = sum(drops.values()) - drops.get("stopped", 0)
    assert lost - drops.get("overrun", 0) <= found[-1] + 1 - len(found) <= lost, drops


@pytest.mark.timeout(180)
def test_it_starts_while_kafka_is_away_and_sends_what_it_saw_once_it_is_there(
    broker: KafkaServer, camera: str, tmp_path: Path
) -> None:
    prefix = new_prefix()
    broker.kill()
    with edge(tmp_path, broker, prefix, f"till-1={camera}") as service:
        service.wait_for("kafka_unavailable")
        wait_until(lambda: spooled(service) > 10, timeout_s=60)
        broker.start()
        wait_for_replay(service)
        assert service.terminate() == 0
    frames = frames_in(broker, prefix)
    drops = read_statuses(broker.bootstrap_servers, prefix, "till-1")[-1].drops
    assert_each_once_in_order(sequences(frames), overrun=drops.get("overrun", 0))
    assert frames[0].replayed


@pytest.mark.timeout(180)
def test_stopped_while_kafka_is_away_it_leaves_on_disk_what_it_could_not_send(
    broker: KafkaServer, camera: str, tmp_path: Path
) -> None:
    prefix = new_prefix()
    settings = {"FRAMEMATCH_SHUTDOWN_DEADLINE_S": "6"}
    with edge(tmp_path, broker, prefix, f"till-1={camera}", **settings) as first:
        wait_until(lambda: first.metric("frames_published_total") > 5)
        broker.kill()
        wait_until(lambda: spooled(first) > 10, timeout_s=60)
        overrun = overruns(first)
        assert first.terminate() == 0
        assert first.wait_for("frames_spooled")["frames"] > 10
    broker.start()
    images = write_images(tmp_path / "images", 3)
    with edge(tmp_path, broker, prefix, f"shelf={images}", **settings) as second:
        assert second.exit_code() == 0
    found = [frame.sequence for frame in frames_in(broker, prefix) if frame.camera == "till-1"]
    assert_each_once_in_order(sorted(set(found)), overrun=overrun)


@pytest.mark.timeout(180)
def test_while_kafka_is_away_a_folder_waits_and_loses_nothing(broker: KafkaServer, tmp_path: Path) -> None:
    prefix, images = new_prefix(), write_images(tmp_path / "images", 80)
    with edge(tmp_path, broker, prefix, f"shelf={images}", FRAMEMATCH_EDGE__UNACKNOWLEDGED_MAX="8") as service:
        wait_until(lambda: service.metric("frames_published_total") > 2)
        broker.kill()
        broker.start()
        assert service.exit_code() == 0
    assert sequences(frames_in(broker, prefix)) == list(range(80))


@pytest.mark.timeout(180)
def test_without_a_spool_a_live_camera_goes_on_and_its_drops_are_counted(
    broker: KafkaServer, camera: str, tmp_path: Path
) -> None:
    prefix = new_prefix()
    with edge(
        tmp_path,
        broker,
        prefix,
        f"till-1={camera}",
        FRAMEMATCH_EDGE__UNACKNOWLEDGED_MAX="4",
        FRAMEMATCH_EDGE__SPOOL__ENABLED="false",
    ) as service:
        wait_until(lambda: service.metric("frames_published_total") > 2)
        broker.kill()
        wait_until(lambda: service.metric("frames_dropped_total") > 10)
        broker.start()
        published = service.metric("frames_published_total")
        wait_until(lambda: service.metric("frames_published_total") > published + 10, message="frames flow again")
        assert len(service.events("camera_opened")) == 1
        lost = service.metric("frames_dropped_total")
        assert service.terminate() == 0
    found = sequences(frames_in(broker, prefix))
    assert found == sorted(set(found))
    assert len(set(range(found[-1] + 1)) - set(found)) <= lost
    assert not list(tmp_path.rglob("*.sqlite"))
