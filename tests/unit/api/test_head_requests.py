"""HEAD is answered as GET, without the body."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from framematch.api.guard.head_requests import HeadRequests


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()

    @app.get("/thing")
    async def thing() -> dict[str, str]:
        return {"name": "thing"}

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"more"

        return StreamingResponse(parts(), media_type="text/event-stream")

    @app.post("/thing")
    async def post() -> None:
        return None

    app.add_middleware(HeadRequests)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        yield client


async def test_the_head_of_the_answer_is_that_of_get(client: httpx.AsyncClient) -> None:
    head, get = await client.head("/thing"), await client.get("/thing")
    assert (head.status_code, head.headers, head.content) == (200, get.headers, b"")


async def test_a_stream_ends_with_its_head(client: httpx.AsyncClient) -> None:
    answer = await client.head("/endless")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


async def test_what_is_not_there_for_get_is_not_there_for_head(client: httpx.AsyncClient) -> None:
    assert (await client.head("/nothing")).status_code == 404
