"""What the doctor says of the API without a server."""

import asyncio

import pytest

from framematch.cli.doctor_api import check_api
from framematch.core.settings import ApiSettings, Settings
from framematch.stack.server import ReservedPort


async def findings(api: ApiSettings) -> dict[str, tuple[bool | None, str]]:
    return {found.part: (found.ok, found.detail) for found in await check_api(Settings(api=api))}


async def test_a_free_port_and_no_way_to_look_for_keys() -> None:
    found = await findings(ApiSettings(port=0))
    assert found["API"] == (True, "can listen on 127.0.0.1:0")
    assert found["API access"][0] is None


async def test_a_port_of_another_program_is_named() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        ok, detail = (await findings(ApiSettings(port=port)))["API"]
    assert ok is None
    assert detail.startswith(f"cannot listen on 127.0.0.1:{port}: ")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", "whoever reaches it may do everything"),
        ("0.0.0.0", "api.auth is none, and 0.0.0.0 is no loopback address"),  # noqa: S104  # what is refused
    ],
)
async def test_an_api_without_keys_is_named(host: str, said: str) -> None:
    port = ReservedPort()
    port.release()
    ok, detail = (await findings(ApiSettings(auth="none", host=host, port=port.number)))["API access"]
    assert (ok, detail) == (None, said)
