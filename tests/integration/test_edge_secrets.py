"""No password of a camera or of Kafka is shown: not in logs, metrics, records, spools, errors or the process list."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from framematch.stack.server import ReservedPort
from tests.conftest import running
from tests.integration.commands import framematch
from tests.integration.edge_service import (
    EdgeService,
    command_line,
    edge_service,
    new_prefix,
    process_tree,
    read_topic,
    write_images,
)
from tests.integration.endless_camera import endless_camera
from tests.integration.rtsp_camera import rtsp_camera
from tests.integration.test_kafka_security import CANARY, USER, Site
from tests.preloaded.process import start_interpreter
from tests.support import freeze, resume, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("untraced_processes")]

AS_SENT = base64.b64encode(f"user:{CANARY}".encode()).decode()
FAILING = ("unreachable", "locked", "redirected")


@dataclass(frozen=True)
class Shop:
    """Arguments and environment for cameras of every kind, each with the canary in its source."""

    arguments: tuple[str, ...]
    environment: dict[str, str]


def with_password(url: str, password: str = CANARY) -> str:
    return url.replace("rtsp://", f"rtsp://user:{password}@")


@contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    """Four cameras: one works, one is unreachable, one has another password, one redirects to another host."""
    unused_port = ReservedPort()
    unreachable = f"rtsp://{unused_port.address}/x"
    with ExitStack() as stack:
        up = stack.enter_context(endless_camera(CANARY))
        locked = stack.enter_context(rtsp_camera(lambda session: session.wait(), password="another"))
        redirected = stack.enter_context(
            rtsp_camera(lambda session: session.wait(), redirect=with_password(unreachable))
        )
        (folder / "redirected").write_text(with_password(redirected.url) + f"?token={CANARY}\n")
        config = folder / "edge.yaml"
        sources = {
            "unreachable": with_password(unreachable, "${CAMERA_PASSWORD}"),
            "redirected": f"@{folder / 'redirected'}",
        }
        config.write_text(json.dumps({"edge": {"cameras": sources}}))  # which is YAML, too
        yield Shop(
            ("--config", str(config), "--camera", f"up={with_password(up.url)}"),
            {
                "CAMERA_PASSWORD": CANARY,
                "FRAMEMATCH_EDGE__CAMERAS": json.dumps({"locked": with_password(locked.url)}),
                "FRAMEMATCH_EDGE__BACKOFF_INITIAL_S": "0.1",
                "FRAMEMATCH_EDGE__BACKOFF_MAX_S": "0.2",
                "LOG_LEVEL": "debug",
            },
        )


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("kafka"))
    with running(site.server):
        yield site


def login(site: Site) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": site.security.addresses["SASL_SSL"],
        "FRAMEMATCH_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "FRAMEMATCH_KAFKA__SSL_CA_FILE": site.ca,
        "FRAMEMATCH_KAFKA__SASL_USERNAME": USER,
        "FRAMEMATCH_KAFKA__SASL_PASSWORD": CANARY,
    }


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # http://127.0.0.1, from the service's log
        text: str = answer.read().decode()
        return text


def all_tried(service: EdgeService) -> bool:
    failed = {line["camera"] for line in service.events("camera_failed")}
    return failed.issuperset(FAILING) and any(line["camera"] == "up" for line in service.events("camera_opened"))


def test_a_running_edge_shows_no_password_anywhere(site: Site, tmp_path: Path) -> None:
    prefix, spool = new_prefix(), tmp_path / "spool"
    with (
        shop(tmp_path) as cameras,
        edge_service(
            tmp_path, site.security.addresses["SASL_SSL"], *cameras.arguments,
            start=start_interpreter, **cameras.environment, **login(site),
            FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix, FRAMEMATCH_EDGE__SPOOL__FOLDER=str(spool),
        ) as service,
    ):  # fmt: skip
        url = service.wait_for("http_listening")["url"]
        wait_until(lambda: all_tried(service), timeout_s=60, message="each camera was tried")
        wait_until(lambda: 'frames_published_total{camera="up"} 0.0' not in get(f"{url}/metrics"))
        shown = {pid: command_line(pid) for pid in process_tree(service.process.pid)}
        freeze(site.server.pid)
        try:
            wait_until(lambda: any(path.stat().st_size for path in spool.rglob("*") if path.is_file()), timeout_s=60)
            on_disk = [path.read_bytes() for path in spool.rglob("*") if path.is_file()]
            metrics = get(f"{url}/metrics")
        finally:
            resume(site.server.pid)
        ready = get(f"{url}/readyz")
        assert service.terminate() == 0
        log = service.log_text()
    records = [
        (record.key, record.value if topic == "status" else b"", record.headers)
        for topic in ("frames", "status")
        for record in read_topic(site.server.bootstrap_servers, f"{prefix}.{topic}")
    ]
    assert len(records) > 4
    assert on_disk
    for text in (log, metrics, ready, str(records), str(shown), str(on_disk)):
        assert CANARY not in text
        assert AS_SENT not in text
    assert any("--camera up=rtsp://***@127.0.0.1" in line for line in shown.values())
    assert any(line.startswith("framematch camera up") for line in shown.values())


MISTAKES: dict[str, tuple[list[str], dict[str, str]]] = {
    "no id": (["--camera", f"rtsp://u:{CANARY}@h/1"], {}),
    "no option": ([f"rtsp://u:{CANARY}@h/1"], {}),
    "an unknown scheme": (["--camera", f"till-1=ftp://u:{CANARY}@h/1"], {}),
    "no scheme": (["--camera", f"till-1=u:{CANARY}@h/1"], {}),
    "white space": (["--camera", f"till-1=rtsp://u:{CANARY} x@h/1"], {}),
    "a slash in the password": (["--camera", f"till-1=rtsp://u:{CANARY}/x@h/1"], {}),
    "a file with two lines": (["--camera", "till-1=@{folder}/two-lines"], {}),
    "a file with garbage": (["--camera", "till-1=@{folder}/garbage"], {}),
    "a YAML file that is none": (["--config", "{folder}/broken.yaml"], {}),
    "a source in the place of a key": (["--config", "{folder}/key.yaml"], {}),
    "JSON that is none": ([], {"FRAMEMATCH_EDGE__CAMERAS": f'{{"till-1": "rtsp://u:{CANARY}@h"'}),
    "JSON of another shape": ([], {"FRAMEMATCH_EDGE__CAMERAS": f'["rtsp://u:{CANARY}@h"]'}),
    "a wrong value beside it": (
        [], {"FRAMEMATCH_EDGE__CAMERAS": f'{{"till-1": {{"source": "rtsp://u:{CANARY}@h", "fps": "{CANARY}"}}}}'},
    ),
    "an unreachable broker": (
        ["--camera", "shelf={folder}/images"],  # a live camera would be kept waiting for the broker
        {
            "FRAMEMATCH_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT", "FRAMEMATCH_KAFKA__SASL_USERNAME": "edge",
            "FRAMEMATCH_KAFKA__SASL_PASSWORD": CANARY,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_the_message_about_a_mistake_contains_no_password(name: str, dead_address: str, tmp_path: Path) -> None:
    arguments, environment = MISTAKES[name]
    (tmp_path / "two-lines").write_text(f"rtsp://u:{CANARY}@h/1\nrtsp://u:{CANARY}@h/2\n")
    (tmp_path / "garbage").write_text(CANARY)
    (tmp_path / "broken.yaml").write_text(f"edge:\n  cameras:\n till-1: rtsp://u:{CANARY}@h: [\n")
    (tmp_path / "key.yaml").write_text(f"edge:\n  cameras:\n    rtsp://u:{CANARY}@h/1: till-1\n")
    write_images(tmp_path / "images", 1)
    environment = {"KAFKA_BOOTSTRAP_SERVERS": dead_address, "LOG_LEVEL": "debug", **environment}
    done = framematch(environment, "edge", *(text.format(folder=tmp_path) for text in arguments))
    printed = done.stdout + done.stderr
    assert done.returncode in (1, 2), printed
    assert CANARY not in printed
    assert "Traceback" not in printed
