"""`framematch edge` while Kafka is unreachable: frames are spooled, replayed in order, marked; losses are counted."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from framematch.core.frames import Frame, parse_frame
from framematch.stack.kafka import KafkaServer
from framematch.stack.mediamtx import MediaMtxServer
from tests.integration.edge_service import (
    EdgeService,
    new_prefix,
    publishing,
    quick_edge,
    read_statuses,
    read_topic,
    total,
    write_images,
    write_video,
)
from tests.support import freeze, resume, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("untraced_processes")]

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
    """The URL of a running stream."""
    url = f"{rtsp.url}/{new_prefix()}"
    with publishing(video, url):
        yield url


@pytest.fixture
def broker(breakable_kafka: KafkaServer) -> KafkaServer:
    return breakable_kafka


@contextmanager
def edge(folder: Path, broker: KafkaServer, prefix: str, camera: str, **settings: str) -> Iterator[EdgeService]:
    name, _, source = camera.partition("=")
    with quick_edge(folder, broker.bootstrap_servers, prefix, {name: source}, **{**QUICK, **settings}) as service:
        yield service


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 300 KB."""
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
    """Frames lost so far because the machine was busy: newer ones replaced them before they were processed."""
    return int(service.metric("frames_dropped_total", stage="slot", reason="overrun"))


def assert_each_once_in_order(found: list[int], *, overrun: int) -> None:
    """Only frames that were overrun may be missing."""
    assert found == sorted(set(found))
    assert found[-1] + 1 - len(found) <= overrun


def spooled(service: EdgeService) -> float:
    """Frames on disk. Each scrape must balance, also while frames are spooled and replayed."""
    samples = service.scrape()
    dropped = total(samples, "frames_dropped_total") - total(samples, "frames_dropped_total", reason="corrupt")
    known = sum(total(samples, name) for name in ("frames_published_total", "spooled_frames", "frames_in_memory"))
    assert total(samples, "frames_captured_total") + total(samples, "frames_found_total") == known + dropped
    assert total(samples, "frames_in_memory") >= 0
    return total(samples, "spooled_frames")


def wait_for_replay(service: EdgeService) -> None:
    """All spooled frames are acknowledged, and new ones are sent directly."""

    def direct() -> bool:
        return len(service.events("spooling_ended")) == len(service.events("spooling_started"))

    wait_until(lambda: spooled(service) == 0 and direct(), timeout_s=60, message="the spool is empty again")


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
            freeze(broker.pid)
        # Longer than the producer's timeout.
        wait_until(lambda: spooled(service) > 60, timeout_s=60, message="frames are spooled")
        if outage == "killed":
            broker.start()
        else:
            resume(broker.pid)
        wait_for_replay(service)
        published = service.metric("frames_published_total")
        wait_until(lambda: service.metric("frames_published_total") > published + 5, message="new frames are published")
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
    # Frames that were in memory when the outage began may have stayed there, between the first ones on disk.
    of_outage = replayed[-30:]
    assert of_outage == found[found.index(of_outage[0]) : found.index(of_outage[-1]) + 1]


@pytest.mark.timeout(180)
def test_a_full_spool_drops_the_oldest_frames_and_counts_them_exactly(
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
    assert max(in_a_row) >= drops["full"], "the oldest were dropped: those before and after them are there"


@pytest.mark.timeout(180)
def test_frames_spooled_by_a_killed_edge_are_sent_by_the_next_one(
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
    # Another camera: spooled frames are sent whether or not their camera is still configured.
    images = write_images(tmp_path / "images", 3)
    with edge(tmp_path, broker, prefix, f"shelf={images}") as second:
        assert second.exit_code() == 0
    found = [frame.sequence for frame in frames_in(broker, prefix) if frame.camera == "till-1"]
    # Frames that were in flight may be there twice: it was not known whether the broker had them.
    assert_each_once_in_order(sorted(set(found)), overrun=overrun)
    assert len(set(found)) >= len(before) + on_disk
    assert found[len(before) :] == sorted(found[len(before) :])


@pytest.mark.timeout(180)
def test_a_full_spool_survives_kill_9_of_the_edge(broker: KafkaServer, camera: str, tmp_path: Path) -> None:
    """The next run sends what the limits left: the newest frames, without a gap."""
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
    assert len(newest) >= on_disk - 2  # some may be evicted between the metric and the kill


@pytest.mark.timeout(180)
def test_frames_beyond_a_full_disk_are_dropped_and_counted(
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
        wait_until(lambda: service.metric("frames_published_total") > published + 5, message="new frames are published")
        assert service.terminate() == 0
    found = sequences(frames_in(broker, prefix))
    assert found == sorted(set(found))
    drops = read_statuses(broker.bootstrap_servers, prefix, "till-1")[-1].drops
    lost = sum(drops.values()) - drops.get("stopped", 0)
    assert lost - drops.get("overrun", 0) <= found[-1] + 1 - len(found) <= lost, drops


@pytest.mark.timeout(180)
def test_started_while_kafka_is_unreachable_it_sends_its_frames_later(
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
def test_stopped_while_kafka_is_unreachable_it_leaves_unsent_frames_on_disk(
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
@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_stopped_while_kafka_is_silent_it_does_not_wait_for_acknowledgements(
    broker: KafkaServer, camera: str, tmp_path: Path, fault: str
) -> None:
    settings = {"FRAMEMATCH_SHUTDOWN_DEADLINE_S": "80"}  # half of it may be waited for acknowledgements
    with edge(tmp_path, broker, new_prefix(), f"till-1={camera}", **settings) as service:
        wait_until(lambda: service.metric("frames_published_total") > 5)
        if fault == "killed":
            broker.kill()
        else:
            freeze(broker.pid)
        wait_until(lambda: spooled(service) > 10, timeout_s=60)
        service.process.terminate()
        assert service.process.wait(30) == 0
        assert service.wait_for("frames_spooled")["frames"] > 10
        assert not service.events("kafka_silent_at_end")
        if fault == "frozen":
            resume(broker.pid)


@pytest.mark.timeout(180)
def test_while_kafka_is_unreachable_a_folder_waits_and_no_frame_is_lost(broker: KafkaServer, tmp_path: Path) -> None:
    prefix, images = new_prefix(), write_images(tmp_path / "images", 80)
    with edge(tmp_path, broker, prefix, f"shelf={images}", FRAMEMATCH_EDGE__UNACKNOWLEDGED_MAX="8") as service:
        wait_until(lambda: service.metric("frames_published_total") > 2)
        broker.kill()
        broker.start()
        assert service.exit_code() == 0
    assert sequences(frames_in(broker, prefix)) == list(range(80))


@pytest.mark.timeout(180)
def test_without_a_spool_a_live_camera_continues_and_its_drops_are_counted(
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
        wait_until(
            lambda: service.metric("frames_published_total") > published + 10, message="new frames are published"
        )
        assert len(service.events("camera_opened")) == 1
        lost = service.metric("frames_dropped_total")
        assert service.terminate() == 0
    found = sequences(frames_in(broker, prefix))
    assert found == sorted(set(found))
    assert len(set(range(found[-1] + 1)) - set(found)) <= lost
    assert not list(tmp_path.rglob("*.sqlite"))
