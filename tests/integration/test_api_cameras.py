"""Cameras by REST on a real broker: with a real edge, and with several processes of the API at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from cryptography.fernet import Fernet
from prometheus_client import CollectorRegistry
from starlette.datastructures import Headers
from structlog.testing import capture_logs

from framematch.api.access.principal import Principal
from framematch.api.access.rate_limit import RateLimit
from framematch.api.admission import Admission, AdmissionMetrics
from framematch.api.app import create_app
from framematch.api.cameras.directory import HEALTH_PART, CameraDirectory
from framematch.api.metrics import ApiMetrics
from framematch.api.paging import PageTokens
from framematch.api.services import Services
from framematch.core.health import Health
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings, Settings
from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import new_prefix, quick_edge, read_topic
from tests.integration.endless_camera import endless_camera
from tests.support import eventually, freeze, resume

pytestmark = pytest.mark.integration

CANARY = "hunter2-canary"
KEY = Fernet.generate_key().decode()
KEYS = {
    "all": Principal("all", "key", frozenset({"read", "operate"}), ("*",)),
    "tills": Principal("tills", "key", frozenset({"read", "operate"}), ("till-*",)),
    "reader": Principal("reader", "key", frozenset({"read"}), ("*",)),
}


class Keys:
    """The API's authenticator: the key is the name."""

    async def authenticate(self, headers: Headers, _client: str) -> Principal:
        return KEYS[headers["x-api-key"]]


class Stand:
    """What the camera routes use of `Services`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.health = Health(HEALTH_PART)
        self.cameras = CameraDirectory(settings, self.health)
        self.page_tokens = PageTokens(b"k" * 32)
        registry = CollectorRegistry()
        self.metrics = ApiMetrics(registry)
        self.access = SimpleNamespace(authenticator=Keys(), rate_limit=RateLimit(0), audit=None)
        self.admission = Admission(
            pictures_max=1, body_bytes_max=10_000_000, metrics=AdmissionMetrics(registry, self.metrics.rejected)
        )


Api = httpx.AsyncClient


@asynccontextmanager
async def api_of(settings: Settings) -> AsyncIterator[tuple[Api, Stand]]:
    """One process of the API, without a process; it has read Kafka if that answers."""
    stand = Stand(settings)
    app = create_app(cast("Services", cast("Any", stand)))
    running = asyncio.create_task(stand.cameras.run())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api", headers={"X-API-Key": "all"}, timeout=60
        ) as client:
            yield client, stand
    finally:
        running.cancel()
        await asyncio.wait([running])
        await stand.cameras.close()


async def ready(api: Api) -> None:
    async def answers() -> bool:
        return (await api.get("/v1/cameras")).status_code == 200

    async def takes_changes() -> bool:
        return (await put(api, "warm-up", edge="no-edge")).is_success

    await eventually(answers, message="the topics are read")
    # A broker's first transaction takes longer than any other: it creates the topic of transactions.
    await eventually(takes_changes, message="a change is acknowledged")
    await api.delete("/v1/cameras/warm-up")


async def settings_for(server: KafkaServer, **api: Any) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=server.bootstrap_servers, topic_prefix=new_prefix())
    await ensure_topics(kafka)
    # A busy machine takes its time, above all for two processes that fence each other.
    return Settings.model_validate({"kafka": kafka, "cameras_key": KEY, "api": {"request_timeout_s": 60} | api})


@pytest.fixture(name="settings")
async def _settings(kafka: KafkaServer) -> Settings:
    return await settings_for(kafka)


SOURCE = f"rtsp://user:{CANARY}@127.0.0.1:1/{CANARY}"


async def put(api: Api, camera: str, edge: str = "shop-1", **headers: str) -> httpx.Response:
    body = {"edge": edge, "source": SOURCE, "settings": {"fps": 2}}
    return await api.put(f"/v1/cameras/{camera}", json=body, headers=headers)


async def test_a_camera_is_created_changed_and_removed_with_etags_and_its_source_is_never_shown(
    settings: Settings,
) -> None:
    """Elsewhere a second path shows what the first one masks (go2rtc#2298), or the log does (scrypted#2096)."""
    answers: list[httpx.Response] = []
    with capture_logs() as log:
        async with api_of(settings) as (api, _):
            await ready(api)
            created = await put(api, "till-1")
            assert (created.status_code, created.json()["source"]) == (201, "rtsp://***@127.0.0.1:1/…")
            assert created.json()["state"] == "pending"
            first = created.headers["etag"]
            assert first == f'"{created.json()["generation"]}"'

            patch = {"settings": {"fps": None, "max_side": 320}}
            changed = await api.patch("/v1/cameras/till-1", json=patch, headers={"If-Match": first})
            assert (changed.status_code, changed.json()["settings"]) == (200, {"max_side": 320})
            assert changed.json()["generation"] > created.json()["generation"]
            lost = await api.patch("/v1/cameras/till-1", json=patch, headers={"If-Match": first})
            assert (lost.status_code, lost.json()["type"]) == (412, "/problems/precondition_failed")
            assert (await put(api, "till-1", **{"If-None-Match": "*"})).status_code == 412

            wrong = await api.patch("/v1/cameras/till-1", json={"settings": {"fps": -1}, "source": f"ftp://{CANARY}"})
            assert {one["pointer"] for one in wrong.json()["errors"]} == {"/settings/fps", "/source"}
            merged = await api.patch(
                "/v1/cameras/till-1", content=json.dumps({"edge": "shop-2"}),
                headers={"Content-Type": "application/merge-patch+json"},
            )  # fmt: skip
            assert merged.json()["edge"] == "shop-2"
            answers += [created, changed, lost, wrong, merged, await api.get("/v1/cameras/till-1")]
            body = {"camera": "till-9", "edge": "shop-9", "source": SOURCE, "settings": {"fps": 0}}
            checked = await api.post("/v1/cameras:validate", json=body)
            assert (checked.json()["valid"], checked.json()["source"]) == (False, "rtsp://***@127.0.0.1:1/…")
            answers += [checked, await api.get("/v1/cameras"), await api.get("/v1/cameras/till-1/status")]
            assert (await api.delete("/v1/cameras/till-1")).status_code == 204
            assert (await api.get("/v1/cameras/till-1")).status_code == 404
            again = await put(api, "till-1")
            assert again.status_code == 201, again.text
            assert again.json()["generation"] > merged.json()["generation"]
    records = await asyncio.to_thread(
        read_topic, settings.kafka.bootstrap_servers or "", Topics(settings.kafka.topic_prefix).cameras
    )
    assert len([one for one in records if one.key == b"till-1"]) == 5
    shown = "".join(f"{one.text}{one.headers}" for one in answers) + str(log) + str(records)
    assert CANARY not in shown
    assert KEY not in shown


async def test_no_change_is_lost_between_two_processes_of_the_api(settings: Settings) -> None:
    async with api_of(settings) as (one, _), api_of(settings) as (other, _):
        await ready(one)
        await ready(other)
        await put(one, "till-1")

        async def is_known() -> bool:
            return (await other.get("/v1/cameras/till-1")).status_code == 200

        await eventually(is_known)

        async def add_mask(api: Api) -> int:
            """Add a mask with an ETag, and repeat that until nobody was faster; returns how often."""
            for tries in range(1, 50):
                read = await api.get("/v1/cameras/till-1")
                masks = [*read.json()["settings"].get("masks", []), {"polygon": [[0, 0], [1, 0], [1, 1]]}]
                changed = await api.patch(
                    "/v1/cameras/till-1", json={"settings": {"masks": masks}},
                    headers={"If-Match": read.headers["etag"]},
                )  # fmt: skip
                if changed.status_code == 200:
                    return tries
                assert changed.status_code == 412, changed.text
            raise AssertionError("never the fastest")

        tries = await asyncio.gather(*(add_mask(api) for api in (one, other) for _ in range(2)))
        assert sum(tries) > len(tries)  # they did meet
        for api in (one, other):

            async def has_all(api: Api = api) -> bool:
                return len((await api.get("/v1/cameras/till-1")).json()["settings"]["masks"]) == len(tries)

            await eventually(has_all)


async def test_a_key_sees_and_changes_its_cameras_alone_page_by_page(settings: Settings) -> None:
    async with api_of(settings) as (api, stand):
        await ready(api)
        for camera in ("door-1", "till-1", "till-2", "till-3"):
            assert (await put(api, camera)).status_code == 201
        own = {"X-API-Key": "tills"}
        first = (await api.get("/v1/cameras?page_size=2", headers=own)).json()
        token = first["next_page_token"]
        rest = (await api.get(f"/v1/cameras?page_size=2&page_token={token}", headers=own)).json()
        assert [one["camera"] for one in first["items"] + rest["items"]] == ["till-1", "till-2", "till-3"]
        assert rest["next_page_token"] is None
        assert (await api.get(f"/v1/cameras?edge=x&page_token={token}", headers=own)).status_code == 400
        for call in (api.get, api.delete):
            assert (await call("/v1/cameras/door-1", headers=own)).status_code == 404
        assert (await put(api, "door-1", **own)).status_code == 404
        assert (await put(api, "till-1", **{"X-API-Key": "reader"})).status_code == 403
        assert [one["camera"] for one in (await api.get("/v1/cameras?state=online")).json()["items"]] == []
        await eventually(lambda: stand.health.report()[HEALTH_PART] == "ok")  # it is brought up to date each second


async def test_without_kafka_the_cameras_are_unknown_and_say_so(dead_address: str) -> None:
    kafka = KafkaSettings(bootstrap_servers=dead_address)
    async with api_of(Settings(kafka=kafka)) as (api, stand):
        for answer in (await api.get("/v1/cameras"), await put(api, "till-1")):
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/cameras_unknown")
            assert answer.headers["retry-after"]
        assert stand.health.ready
        assert "ok (" in stand.health.report()[HEALTH_PART]


async def test_while_kafka_is_frozen_a_change_is_a_503_and_what_is_known_is_shown_with_a_note(
    breakable_kafka: KafkaServer,
) -> None:
    settings = await settings_for(breakable_kafka, request_timeout_s=4)
    async with api_of(settings) as (api, stand):
        await ready(api)
        first = await put(api, "till-1")
        freeze(breakable_kafka.pid)
        try:
            late = await put(api, "till-1")
            assert (late.status_code, late.json()["type"]) == (503, "/problems/unavailable")
            assert "may have been made" in late.json()["hint"]

            async def has_note() -> bool:
                return bool((await api.get("/v1/cameras")).json()["note"])

            await eventually(has_note, timeout_s=60)
            assert (await api.get("/v1/cameras/till-1")).json()["generation"] == first.json()["generation"]
            assert stand.health.ready
        finally:
            resume(breakable_kafka.pid)

        async def is_put() -> bool:
            return (await put(api, "till-1")).status_code == 200

        await eventually(is_put, timeout_s=60)
        assert (await api.get("/v1/cameras")).json()["note"] is None


async def test_an_edge_runs_what_is_put_and_its_refusal_is_an_answer(settings: Settings, tmp_path: Path) -> None:
    servers, prefix = settings.kafka.bootstrap_servers or "", settings.kafka.topic_prefix
    environment = {
        "FRAMEMATCH_STATE_DIR": str(tmp_path / "state"), "FRAMEMATCH_EDGE__NAME": "shop-1",
        "FRAMEMATCH_EDGE__FOLLOW": "kafka", "FRAMEMATCH_EDGE__FOLLOW_HOSTS": '["127.0.0.1"]',
        "FRAMEMATCH_CAMERAS_KEY": KEY,
    }  # fmt: skip
    with (
        endless_camera(CANARY) as camera,
        quick_edge(tmp_path, servers, prefix, {"own": camera.url}, **environment) as edge,
    ):
        async with api_of(settings) as (api, _):
            await ready(api)
            source = camera.url.replace("rtsp://", f"rtsp://user:{CANARY}@")
            good = {"edge": "shop-1", "source": source}
            await api.put("/v1/cameras/till-1", json=good)
            await api.put("/v1/cameras/till-2", json={**good, "source": "rtsp://169.254.169.254/1"})

            async def of(name: str) -> dict[str, Any]:
                found: dict[str, Any] = (await api.get(f"/v1/cameras/{name}")).json()
                return found

            async def runs() -> bool:
                found = await of("till-1")
                return (found["state"], found["observed_generation"]) == ("online", found["generation"])

            async def is_refused() -> bool:
                found = await of("till-2")
                return bool(found["refused"]) and found["observed_generation"] == found["generation"]

            async def is_known() -> bool:
                return (await api.get("/v1/cameras/own")).status_code == 200

            await eventually(runs, timeout_s=60)
            await eventually(is_refused, timeout_s=60)
            await eventually(is_known, timeout_s=60)
            refused = await of("till-2")
            assert (refused["state"], refused["managed"]) == ("offline", "topic")
            assert "169.254.169.254 is not allowed here" in refused["refused"]["reason"]
            assert "follow_hosts" in refused["refused"]["hint"]
            assert (await api.get("/v1/cameras/till-1/status")).json()["edge"] == "shop-1"
            own = await of("own")
            assert (own["managed"], own["edge"], own["generation"]) == ("file", "shop-1", None)
            assert (await api.delete("/v1/cameras/own")).json()["type"] == "/problems/managed_by_file"
        assert edge.terminate() == 0
        assert CANARY not in edge.log_text()
