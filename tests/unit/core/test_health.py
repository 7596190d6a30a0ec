"""The HTTP endpoint: alive, ready or why not, and the metrics."""

from pathlib import Path

import aiohttp
import pytest
from prometheus_client import Counter

from framematch.core.errors import SettingsError
from framematch.core.health import Health, new_registry, serve_http
from framematch.core.settings import HttpSettings


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_a_service_is_alive_before_it_is_ready() -> None:
    async with serve_http(Health("kafka"), new_registry(), HttpSettings()) as url:
        assert (await get(f"{url}/healthz"))[0] == 200
        assert (await get(f"{url}/readyz")) == (503, '{"kafka": "starting"}')


async def test_a_service_is_ready_when_every_part_is() -> None:
    health = Health("kafka", "triton")
    async with serve_http(health, new_registry(), HttpSettings()) as url:
        health.set_ready("kafka")
        assert (await get(f"{url}/readyz"))[0] == 503
        health.set_ready("triton")
        assert (await get(f"{url}/readyz"))[0] == 200
        health.set_not_ready("triton", "no answer")
        assert (await get(f"{url}/readyz")) == (503, '{"kafka": "ok", "triton": "no answer"}')


def test_an_optional_part_is_reported_and_does_not_make_a_service_unready() -> None:
    health = Health("snapshot", optional=("kafka",))
    assert not health.ready
    health.set_ready("snapshot")
    health.set_not_ready("kafka", "no answer")
    assert health.ready
    assert health.report() == {"snapshot": "ok", "kafka": "no answer"}


def test_a_source_that_works_does_not_hide_one_that_fails() -> None:
    health = Health("output")
    for source, reason in ((0, "refused"), (1, "no answer"), (2, "refused")):
        health.set_not_ready("output", reason, source=source)
    health.set_ready("output", source=3)
    assert health.report() == {"output": "refused; no answer"}
    for source in (0, 1):
        health.set_ready("output", source=source)
    assert (health.works("output"), health.report()) == (False, {"output": "refused"})
    health.set_ready("output", source=2)
    assert (health.ready, health.report()) == (True, {"output": "ok"})


async def test_metrics_are_in_the_prometheus_format() -> None:
    registry = new_registry()
    Counter("framematch_things", "Things", registry=registry).inc()
    async with serve_http(Health(), registry, HttpSettings()) as url:
        status, text = await get(f"{url}/metrics")
    assert status == 200
    assert "framematch_things_total 1.0" in text
    assert "framematch_process_resident_memory_bytes" in text


async def test_a_path_as_the_address_makes_a_unix_socket(tmp_path: Path) -> None:
    socket = str(tmp_path / "http.sock")
    async with (
        serve_http(Health(), new_registry(), HttpSettings(host=socket)) as url,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as session,
        session.get("http://localhost/healthz") as response,
    ):
        assert response.status == 200
    assert url == f"unix:{socket}"


async def test_a_socket_that_cannot_be_created_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot serve HTTP at .*/nowhere/http.sock"):
        async with serve_http(Health(), new_registry(), HttpSettings(host=str(tmp_path / "nowhere" / "http.sock"))):
            pass


async def test_a_port_in_use_is_one_clear_error() -> None:
    async with serve_http(Health(), new_registry(), HttpSettings()) as url:
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(SettingsError, match="Set FRAMEMATCH_HTTP__PORT"):
            async with serve_http(Health(), new_registry(), HttpSettings(port=port)):
                pass


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nowhere"])
async def test_no_answer_names_a_product(path: str) -> None:
    async with serve_http(Health("kafka"), new_registry(), HttpSettings()) as url, aiohttp.ClientSession() as session:
        for method in ("GET", "POST"):
            async with session.request(method, url + path) as answer:
                assert "Server" not in answer.headers


def test_a_note_is_reported_and_does_not_make_a_service_unready() -> None:
    health = Health("snapshot")
    health.set_ready("snapshot")
    health.set_note("snapshot", "another one is refused")
    assert (health.ready, health.report()) == (True, {"snapshot": "ok (another one is refused)"})
    health.set_note("snapshot", None)
    assert health.report() == {"snapshot": "ok"}
