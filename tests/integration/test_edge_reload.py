"""A running edge whose settings change: cameras are added, changed and removed without effect on the others."""

import signal
from pathlib import Path

import pytest

from framematch.core.frames import parse_frame
from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import edge_service, new_prefix, read_topic
from tests.integration.endless_camera import endless_camera
from tests.support import wait_until

pytestmark = pytest.mark.integration

CANARY = "hunter2-canary"


def write_cameras(file: Path, **sources: str) -> None:
    """Replace the settings as editors and Kubernetes do: the file is never seen half-written."""
    lines = [f"    {name}: {source}" for name, source in sources.items()]
    new = file.with_suffix(".new")
    new.write_text("\n".join(["edge:", "  cameras:", *lines, ""]))
    new.rename(file)


def sequences(kafka: KafkaServer, prefix: str, camera: str) -> list[int]:
    records = read_topic(kafka.bootstrap_servers, f"{prefix}.frames")
    return [parse_frame(record.key, record.headers).sequence for record in records if record.key == camera.encode()]


def test_cameras_are_added_and_removed_and_the_others_run_on(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, file = new_prefix(), tmp_path / "edge.yaml"
    with (
        endless_camera() as first,
        endless_camera() as second,
    ):
        write_cameras(file, kept=first.url)
        with edge_service(
            tmp_path, kafka.bootstrap_servers, "--config", str(file), FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix
        ) as service:
            service.wait_for("camera_opened")
            write_cameras(file, kept=first.url, added=second.url)
            accepted = service.wait_for("settings_accepted")
            assert (accepted["added"], accepted["removed"], accepted["changed"]) == (1, 0, 0)
            wait_until(lambda: len(sequences(kafka, prefix, "added")) > 2, timeout_s=60)

            write_cameras(file, kept=first.url)
            assert service.wait_for("settings_accepted", count=2)["removed"] == 1
            had = len(sequences(kafka, prefix, "kept"))
            wait_until(lambda: len(sequences(kafka, prefix, "kept")) > had + 2, timeout_s=60)
            assert service.terminate() == 0
            opened = [line["camera"] for line in service.events("camera_opened")]
    assert opened == ["kept", "added"]
    found = sequences(kafka, prefix, "kept")
    assert found == sorted(set(found))


def test_a_changed_camera_is_restarted_and_its_sequence_goes_on(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, file = new_prefix(), tmp_path / "edge.yaml"
    with endless_camera() as camera:
        write_cameras(file, till=camera.url)
        with edge_service(
            tmp_path, kafka.bootstrap_servers, "--config", str(file), FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix
        ) as service:
            wait_until(lambda: service.metric("frames_published_total") > 2, timeout_s=60)
            write_cameras(file, till=f"{{source: '{camera.url}', jpeg_quality: 50}}")
            assert service.wait_for("settings_accepted")["changed"] == 1
            service.wait_for("camera_opened", count=2)
            had = len(sequences(kafka, prefix, "till"))
            wait_until(lambda: len(sequences(kafka, prefix, "till")) > had + 2, timeout_s=60)
            assert service.terminate() == 0
    found = sequences(kafka, prefix, "till")
    assert found == sorted(set(found))
    times = [record.timestamp for record in read_topic(kafka.bootstrap_servers, f"{prefix}.frames")]
    assert times == sorted(times)


def test_a_file_with_a_mistake_changes_nothing_until_it_is_corrected(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, file = new_prefix(), tmp_path / "edge.yaml"
    with endless_camera(CANARY) as camera:
        source = camera.url.replace("rtsp://", f"rtsp://user:{CANARY}@")
        write_cameras(file, kept=source)
        with edge_service(
            tmp_path, kafka.bootstrap_servers, "--config", str(file), FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix
        ) as service:
            service.wait_for("camera_opened")
            write_cameras(file, kept=source, added=source.replace("rtsp", "ftp"))
            assert "camera added: cannot read 'ftp://***@" in service.wait_for("settings_refused")["reason"]
            wait_until(lambda: not service.metric("settings_valid"))
            had = len(sequences(kafka, prefix, "kept"))
            wait_until(lambda: len(sequences(kafka, prefix, "kept")) > had + 2, timeout_s=60)

            write_cameras(file, kept=source)
            service.wait_for("settings_accepted")
            wait_until(lambda: service.metric("settings_valid"))
            assert service.terminate() == 0
            assert len(service.events("settings_refused")) == 1
            assert len(service.events("camera_opened")) == 1
            assert CANARY not in service.log_text()


def test_sighup_reads_the_settings_again_and_stops_nothing(kafka: KafkaServer, tmp_path: Path) -> None:
    with (
        endless_camera() as camera,
        edge_service(
            tmp_path, kafka.bootstrap_servers, "--camera", f"till-1={camera.url}",
            FRAMEMATCH_KAFKA__TOPIC_PREFIX=new_prefix(),
        ) as service,
    ):  # fmt: skip
        service.wait_for("camera_opened")
        service.process.send_signal(signal.SIGHUP)
        accepted = service.wait_for("settings_accepted")
        assert (accepted["cause"], accepted["added"], accepted["changed"]) == ("signal", 0, 0)
        assert service.terminate() == 0
        assert len(service.events("camera_opened")) == 1
