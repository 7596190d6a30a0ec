"""Match by the API, by real servers: the same decision by every way, and what many clients and faults do to it."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

from demo.dataset import DATA_DIR
from demo.services import Service
from framematch.core.events import similarity
from tests.e2e.fault_run import BreakableServers
from tests.e2e.site import Site, unique_prefix
from tests.integration.commands import framematch
from tests.support import eventually, freeze, resume
from tests.unit.pictures.heic_files import heic
from tests.unit.pictures.samples import encoded, with_orientation

PHOTO = (DATA_DIR / "images" / "alpro-blueberry-soyghurt.jpg").read_bytes()
PRODUCT = "alpro-blueberry-soyghurt"
CLIENTS = 200
ANSWERS = 100  # more than may be in flight at once
MEMORY_MAX_MB = 600  # 200 without requests; the rest is what 64 pictures and their bodies may take


@dataclass(frozen=True)
class Api:
    """A running API, and a way to it."""

    site: Site
    service: Service
    servers: BreakableServers

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """As many connections as the test wants."""
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(self.service.url, connector=connector, timeout=timeout) as session:
            yield session


@pytest.fixture(scope="module")
def api_process(breakable: BreakableServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    breakable.recover()
    with Site(breakable.stack, tmp_path_factory.mktemp("api"), prefix=unique_prefix()) as site:
        site.environment |= {
            "FRAMEMATCH_API__AUTH": "none",
            "FRAMEMATCH_API__PICTURES_IN_FLIGHT_MAX": "64",
            "FRAMEMATCH_API__UPLOAD_TIMEOUT_S": "1",
            "FRAMEMATCH_API__REQUEST_TIMEOUT_S": "30",  # a busy machine is slow to learn how many it can answer
        }
        yield Api(site, site.start("api"), breakable)


@pytest.fixture
def api(api_process: Api, breakable: BreakableServers) -> Iterator[Api]:
    """The API with all servers running, before and after the test."""
    breakable.recover()
    api_process.service.wait_ready()
    yield api_process
    breakable.recover()


def form(*pictures: bytes) -> aiohttp.FormData:
    fields = aiohttp.FormData()
    for data in pictures:
        fields.add_field("image", data, filename="photo", content_type="application/octet-stream")
    return fields


async def match(client: aiohttp.ClientSession, *pictures: bytes) -> list[dict[str, Any]]:
    async with client.post("/v1/match", data=form(*pictures)) as answer:
        found = await answer.json()
        assert answer.status == 200, found
    results: list[dict[str, Any]] = found["results"]
    return results


async def status(client: aiohttp.ClientSession) -> int:
    async with client.post("/v1/match", data=form(PHOTO)) as answer:
        await answer.read()
        return answer.status


async def test_a_picture_gets_the_same_decision_by_file_base64_stream_and_command(api: Api, tmp_path: Path) -> None:
    async with api.client() as client:
        [by_file] = (await match(client, PHOTO))[0]["regions"]
        body = {"images": [{"content": base64.b64encode(PHOTO).decode()}]}
        async with client.post("/v1/match", json=body) as answer:
            [by_base64] = (await answer.json())["results"][0]["regions"]
    await asyncio.to_thread(api.site.start, "consume")
    [event] = await api.site.events(await api.site.publish(1, payloads={0: PHOTO}))
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    command = framematch(api.site.environment, "search", "--json", "--image", str(tmp_path / "photo.jpg"))
    by_command = json.loads(command.stdout)
    assert by_file["product"]["id"] == PRODUCT
    assert by_base64 == by_file
    assert (event.decision, event.threshold, by_command["decision"]) == ("match", by_file["threshold"], "match")
    candidates = {one["product_id"]: one["score"] for one in by_file["candidates"]}
    for others in (
        {one.product_id: one.score for one in event.candidates},
        {one["id"]: similarity(one["score"]) for one in by_command["products"]},
    ):
        assert list(others) == list(candidates)
        assert others == pytest.approx(candidates, abs=1e-5)  # a batch of another size rounds in another way


async def test_however_a_picture_is_stored_it_is_the_same_picture(api: Api) -> None:
    pixels = np.asarray(Image.open(DATA_DIR / "images" / "alpro-blueberry-soyghurt.jpg").convert("RGB"))
    stored = [
        encoded(pixels, "PNG"),
        with_orientation(pixels, 6, "JPEG", quality=97, subsampling=0),
        encoded(pixels, "WEBP", quality=97),
        encoded(pixels, "AVIF", quality=95),
        heic(np.ascontiguousarray(np.rot90(pixels, -1)), quarter_turns=1, orientation=6),
        encoded(pixels, "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", pixels.shape[1::-1])]),
    ]
    async with api.client() as client:
        results = await match(client, *stored)
    regions = [result["regions"][0] for result in results]
    assert {(one["decision"], one["product"]["id"]) for one in regions} == {("match", PRODUCT)}
    assert [one["score"] for one in regions] == pytest.approx([regions[0]["score"]] * len(stored), abs=0.02)


async def test_bombs_are_refused_by_their_header_and_cost_no_memory(api: Api) -> None:
    flat = Image.new("1", (40_000, 40_000))
    before_mb = memory_mb(api.service)
    async with api.client() as client:
        found = await match(client, encoded(flat, "PNG"), PHOTO, b"GIF89a" + bytes(50), b"%!PS-Adobe")
    assert [one.get("problem", {}).get("reason") for one in found] == [
        "too_many_pixels", None, "unsupported_format", "not_a_picture"
    ]  # fmt: skip
    assert memory_mb(api.service) < before_mb + 100


async def test_many_clients_get_answers_or_429_and_memory_is_bounded(api: Api) -> None:
    seen: Counter[int] = Counter()
    stop = asyncio.Event()

    async def ask(client: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            async with client.post("/v1/match", data=form(PHOTO)) as answer:
                seen[answer.status] += 1
                if answer.status == 429:
                    assert int(answer.headers["Retry-After"]) >= 1
                await answer.read()
            await asyncio.sleep(1 if answer.status == 429 else 0)

    async with api.client() as client, asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(ask(client))
        await eventually(lambda: seen[200] >= ANSWERS, timeout_s=90, message=f"{ANSWERS} answers")
        stop.set()
    assert seen.keys() == {200, 429}
    assert memory_mb(api.service) < MEMORY_MAX_MB
    assert api.service.metric("framematch_api_pictures_in_flight") == [0.0]


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "frozen"])
async def test_while_triton_is_away_clients_get_503_and_then_answers_again(api: Api, kill: bool) -> None:
    triton, seen = api.servers.triton, Counter[int]()
    back = asyncio.Event()

    async def ask(client: aiohttp.ClientSession) -> None:
        while not back.is_set():
            seen[found := await status(client)] += 1
            await asyncio.sleep(0.1 if found == 503 else 0)

    async with api.client() as client, asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(ask(client))
        await eventually(lambda: seen[200] >= 8)
        await asyncio.to_thread(triton.kill if kill else lambda: freeze(triton.pid))
        await eventually(lambda: seen[503] >= 24, message="requests are refused")
        await asyncio.to_thread(triton.start if kill else lambda: resume(triton.pid))
        answered = seen[200]
        await eventually(lambda: seen[200] >= answered + 8, timeout_s=60, message="answers again")
        back.set()
    assert seen.keys() == {200, 503}, "nobody waits until the deadline"


async def test_while_mongodb_is_frozen_pictures_are_matched(api: Api) -> None:
    async with api.client() as client:
        await match(client, PHOTO)
        freeze(api.servers.mongodb.pid)
        try:
            [region] = (await match(client, PHOTO))[0]["regions"]
        finally:
            resume(api.servers.mongodb.pid)
    assert (region["decision"], region["product"]["id"]) == ("match", PRODUCT)


async def test_for_clients_that_leave_nothing_is_kept(api: Api) -> None:
    freeze(api.servers.triton.pid)
    left = int(api.service.metric("framematch_api_abandoned_total")[0])
    async with api.client() as client:
        waiting = [asyncio.ensure_future(status(client)) for _ in range(20)]
        await eventually(lambda: _in_flight(api) == 20)
        for request in waiting:
            request.cancel()
        await asyncio.wait(waiting)
    await eventually(lambda: _in_flight(api) == 0)
    assert api.service.metric("framematch_api_abandoned_total") == [left + 20]


async def test_a_slow_upload_is_ended_and_holds_nobody_up(api: Api) -> None:
    host, port = api.service.url.removeprefix("http://").split(":")
    head = f"POST /v1/match HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    async with api.client() as client:

        async def answered() -> bool:
            return await status(client) == 200

        await eventually(answered, message="Triton, which the last test froze, answers again")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode() + b'{"images":')
        assert await answered()
    assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


def _in_flight(api: Api) -> float:
    return api.service.metric("framematch_api_pictures_in_flight")[0]


def memory_mb(service: Service) -> float:
    """The resident memory of a service."""
    lines = Path(f"/proc/{service.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000
