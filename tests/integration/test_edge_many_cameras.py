"""One edge with many cameras: all of them deliver, and none is left behind."""

import os
from pathlib import Path

import pytest

from framematch.core.frames import parse_frame
from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import (
    command_line,
    edge_service,
    new_prefix,
    process_tree,
    quick_edge,
    read_topic,
    write_images,
)
from tests.support import wait_until

pytestmark = pytest.mark.integration

CAMERAS = 40
FRAMES = 8


def camera_arguments(prefix: str, folder: Path) -> list[str]:
    images = write_images(folder / "images", FRAMES)
    return [f"--camera={prefix}-{number}={images}" for number in range(CAMERAS)]


def processes_of(prefix: str) -> list[int]:
    """The living processes of cameras, wherever they hang in the tree."""
    return [pid for pid in process_tree(1) if command_line(pid).startswith(f"framematch camera {prefix}-")]


def test_forty_cameras_deliver_all_their_frames_in_order_and_leave_no_process(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    prefix = new_prefix()
    with edge_service(
        tmp_path, kafka.bootstrap_servers, *camera_arguments(prefix, tmp_path), FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix
    ) as service:
        assert service.exit_code() == 0, service.log_text()
    sequences: dict[str, list[int]] = {}
    for record in read_topic(kafka.bootstrap_servers, f"{prefix}.frames"):
        frame = parse_frame(record.key, record.headers)
        sequences.setdefault(frame.camera, []).append(frame.sequence)
    assert sequences == {f"{prefix}-{number}": list(range(FRAMES)) for number in range(CAMERAS)}
    assert not processes_of(prefix)


def test_forty_cameras_that_are_stopped_have_settled_every_frame_and_leave_no_process(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    prefix = new_prefix()
    arguments = (*camera_arguments(prefix, tmp_path), "--loop")
    with edge_service(tmp_path, kafka.bootstrap_servers, *arguments, FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix) as service:
        wait_until(lambda: service.metric("camera_up") == CAMERAS, timeout_s=60)
        assert service.terminate() == 0, service.log_text()
        [end] = service.events("edge_finished")
        assert (end["cameras"], end["spooled"]) == (CAMERAS, 0)
        assert end["captured"] == end["sent"] + sum(end["dropped"].values())
    assert not processes_of(prefix)


def test_a_camera_gives_way_to_the_service_and_is_killed_before_it_when_memory_runs_out(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images", FRAMES)
    cameras = {"till-1": str(images)}
    with quick_edge(tmp_path, kafka.bootstrap_servers, new_prefix(), cameras) as service:
        camera = service.wait_for_camera_process("till-1")
        service.wait_for("camera_opened")
        niceness = [os.getpriority(os.PRIO_PROCESS, pid) for pid in (service.process.pid, camera)]
        oom = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (service.process.pid, camera)]
    assert niceness[1] > niceness[0]
    assert oom[1] > oom[0]
