"""`framematch edge` over files and folders, with a real Kafka and as a real process."""

import asyncio
import re
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from framematch.core.frames import parse_frame
from framematch.core.timestamps import now_us
from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import (
    edge_service,
    grey_level,
    new_prefix,
    read_statuses,
    read_topic,
    write_images,
    write_video,
)
from tests.support import wait_until

pytestmark = pytest.mark.integration


def test_a_folder_of_images_arrives_whole_and_in_order_with_its_headers(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, images = new_prefix(), write_images(tmp_path / "images", 20)
    began_us = now_us()
    with edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"shelf={images}", "--fps", "50",
        FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix,
    ) as service:  # fmt: skip
        assert service.exit_code() == 0
    records = read_topic(kafka.bootstrap_servers, f"{prefix}.frames")
    frames = [parse_frame(record.key, record.headers) for record in records]
    assert [frame.sequence for frame in frames] == list(range(20))
    assert [round(grey_level(record.value) / 3) for record in records] == list(range(20))
    assert len({record.partition for record in records}) == 1
    assert len({frame.id for frame in frames}) == len({frame.traceparent for frame in frames}) == 20
    for frame, record in zip(frames, records, strict=True):
        assert began_us <= frame.captured_at_us <= now_us()
        assert record.timestamp == frame.captured_at_us // 1_000
        assert record.value.startswith(b"\xff\xd8")
        assert dict(record.headers)["content-type"] == b"image/jpeg"


def test_a_video_is_sampled_scaled_and_paced_by_its_own_time(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, video = new_prefix(), write_video(tmp_path / "video.mp4", seconds=3)
    arguments = ("--camera", f"till-1={video}", "--fps", "10", "--max-side", "160")
    with edge_service(tmp_path, kafka.bootstrap_servers, *arguments, FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix) as service:
        assert service.exit_code() == 0
    records = read_topic(kafka.bootstrap_servers, f"{prefix}.frames")
    frames = [parse_frame(record.key, record.headers) for record in records]
    assert [frame.sequence for frame in frames] == list(range(30))
    # The last of 30 frames is due 2.9 s after the first; a slow machine only adds.
    assert frames[-1].captured_at_us - frames[0].captured_at_us >= 2_850_000
    levels = [grey_level(record.value) for record in records]
    assert levels == sorted(levels)
    picture = cv2.imdecode(np.frombuffer(records[0].value, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (120, 160, 3)


def test_the_service_ends_when_both_sources_have_ended_and_reports_it(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix = new_prefix()
    one, other = write_images(tmp_path / "one", 5), write_images(tmp_path / "other", 30)
    with edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"one={one}", "--camera", f"other={other}", "--fps", "20",
        FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix,
    ) as service:  # fmt: skip
        assert service.exit_code() == 0
    records = read_topic(kafka.bootstrap_servers, f"{prefix}.frames")
    assert sorted(record.key for record in records) == [b"one"] * 5 + [b"other"] * 30
    for camera in ("one", "other"):
        states = [(status.state, status.reason) for status in read_statuses(kafka.bootstrap_servers, prefix, camera)]
        assert ("online", None) in states
        assert states[-1] == ("offline", "ended")


def test_sigterm_leaves_nothing_unacknowledged_and_exits_0(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, images = new_prefix(), write_images(tmp_path / "images", 10)
    with edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"shelf={images}", "--fps", "200", "--loop",
        FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix,
    ) as service:  # fmt: skip
        service.wait_for("camera_opened")
        wait_until(lambda: len(read_topic(kafka.bootstrap_servers, f"{prefix}.frames")) > 15)
        assert service.terminate() == 0
        assert not service.events("frames_spooled")
    sequences = [
        parse_frame(record.key, record.headers).sequence
        for record in read_topic(kafka.bootstrap_servers, f"{prefix}.frames")
    ]
    assert sequences == list(range(len(sequences)))
    last = read_statuses(kafka.bootstrap_servers, prefix, "shelf")[-1]
    assert (last.state, last.reason) == ("offline", "stopped")


def is_ready(url: str) -> bool:
    try:
        return "ok" in get(f"{url}/readyz")
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return False


def test_metrics_add_up_and_the_service_is_ready(kafka: KafkaServer, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 30)
    (images / "0005.png").write_bytes(b"no picture")
    with edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"shelf={images}", "--camera", "unreachable=rtsp://127.0.0.1:1/x",
        "--fps", "100", FRAMEMATCH_KAFKA__TOPIC_PREFIX=new_prefix(),
    ) as service:  # fmt: skip
        url = service.wait_for("http_listening")["url"]
        service.wait_for("camera_ended")
        wait_until(lambda: 'frames_published_total{camera="shelf"} 29.0' in get(f"{url}/metrics"))
        metrics = get(f"{url}/metrics")
        assert 'framematch_edge_frames_captured_total{camera="shelf"} 29.0' in metrics
        assert re.search(r'frames_dropped_total\{camera="shelf",reason="corrupt",stage="capture"\} 1\.0', metrics)
        assert 'framematch_edge_camera_up{camera="unreachable"} 0.0' in metrics
        assert "framematch_edge_publish_seconds_count 29.0" in metrics
        wait_until(lambda: is_ready(url), message="readiness is updated once a second")
        assert service.terminate() == 0


def test_a_refused_frame_does_not_end_its_camera(kafka: KafkaServer, tmp_path: Path) -> None:
    """A topic that someone made with a lower limit: its refusal leaves a gap in the producer's sequence numbers."""
    prefix, images = new_prefix(), write_images(tmp_path / "images", 12)
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    cv2.imwrite(str(images / "0003.png"), noise)
    create_topic(kafka.bootstrap_servers, f"{prefix}.frames", {"max.message.bytes": "100000"})
    with edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"shelf={images}", "--fps", "4",
        FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix,
    ) as service:  # fmt: skip
        assert service.exit_code() == 1
        assert service.events("frames_dropped")[0]["reason"] == "too_large"
        (ended,) = service.events("camera_ended")
        assert (ended["captured"], ended["sent"], ended["dropped"], ended["spooled"]) == (12, 11, {"too_large": 1}, 0)
        (finished,) = service.events("edge_finished")
        assert (finished["captured"], finished["sent"], finished["dropped"]) == (12, 11, {"too_large": 1})
        assert "shelf: frames dropped: 1 too_large" in service.events("service_failed")[0]["error"]
    sequences = [
        parse_frame(record.key, record.headers).sequence
        for record in read_topic(kafka.bootstrap_servers, f"{prefix}.frames")
    ]
    assert sequences == sorted(set(sequences))
    assert sequences[:3] == [0, 1, 2]
    assert 3 not in sequences
    assert sequences[-1] == 11
    assert read_statuses(kafka.bootstrap_servers, prefix, "shelf")[-1].drops["too_large"] == 1


def test_a_folder_that_gives_no_frame_makes_the_exit_code_1_and_is_named(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, whole, damaged = new_prefix(), write_images(tmp_path / "whole", 2), write_images(tmp_path / "damaged", 1)
    for image in damaged.iterdir():
        image.write_bytes(b"no picture")
    with edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"whole={whole}", "--camera", f"damaged={damaged}",
        FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix,
    ) as service:  # fmt: skip
        assert service.exit_code() == 1
        ended = {event["camera"]: event for event in service.events("camera_ended")}
        assert (ended["whole"]["sent"], ended["whole"]["incomplete"]) == (2, None)
        assert (ended["damaged"]["sent"], ended["damaged"]["dropped"]) == (0, {"corrupt": 1})
        (finished,) = service.events("edge_finished")
        assert (finished["captured"], finished["sent"], finished["spooled"]) == (2, 2, 0)
        (failed,) = service.events("service_failed")
    assert failed["error"].startswith("not all files and folders were sent completely: damaged: ")


def test_without_a_broker_it_prints_one_line_and_exits_with_1(tmp_path: Path, dead_address: str) -> None:
    images = write_images(tmp_path / "images", 1)
    with edge_service(tmp_path, dead_address, "--camera", f"shelf={images}") as service:
        assert service.exit_code() == 1
        printed = service.log_text().strip().splitlines()[-1]
    assert "Kafka does not answer at 127.0.0.1:" in printed
    assert "Traceback" not in service.log_text()


@pytest.mark.parametrize(
    ("source", "message"),
    [("missing.mp4", "no file or folder 'missing.mp4'"), (__file__, "is not a video that can be decoded")],
)
def test_an_invalid_source_is_reported_in_one_line_with_exit_code_2(
    tmp_path: Path, dead_address: str, source: str, message: str
) -> None:
    with edge_service(tmp_path, dead_address, "--camera", f"till-1={source}") as service:
        assert service.exit_code() == 2
    lines = service.log_text().strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # http://127.0.0.1, from the service's log
        text: str = answer.read().decode()
        return text


def create_topic(bootstrap_servers: str, name: str, config: dict[str, str]) -> None:
    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, 1, 1, topic_configs=config)])
        finally:
            await admin.close()

    asyncio.run(create())
