"""The route: who gets a stream, with what parameters, and how it ends. Kafka is not needed: the ring is filled."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest
from fastapi import FastAPI
from starlette.datastructures import Headers

from framematch.api.access.principal import ALL_CAMERAS, Principal
from framematch.api.problems import Problem
from framematch.api.stream import hub as hub_module
from framematch.api.stream import response as response_module
from framematch.api.stream.hub import EventHub
from framematch.core.settings import KafkaSettings
from tests.event_stream import StreamClient, stream_app
from tests.support import eventually
from tests.unit.api.stream.stream_items import event, positions


class Keys:
    """Knows one key, for the cameras of a shop."""

    def __init__(self) -> None:
        self.cameras = ("till-*",)
        self.problem: Problem | None = None

    async def authenticate(self, _headers: Headers, _client: str) -> Principal:
        if self.problem:
            raise self.problem
        return Principal("page", "key", frozenset({"read"}), self.cameras)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def served(keys: Keys) -> AsyncIterator[tuple[FastAPI, EventHub]]:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    async with stream_app(kafka, authenticator=keys, run=False, stream_send_timeout_s=0.05, stream_clients_max=3) as (
        app,
        hub,
    ):
        hub.ring.start(positions(0))
        for offset in range(3):
            hub.ring.append(event(0, offset))
        yield app, hub


def problem(client: StreamClient) -> tuple[int, str]:
    return client.status, msgspec.json.decode(client.body)["type"].rpartition("/")[2]


def numbers(client: StreamClient) -> list[int]:
    return [msgspec.json.decode(one.data)["frame"]["sequence"] for one in client.events if one.type == "match"]


def id_at(*offsets: int) -> str:
    return positions(*offsets).encode().decode()


async def test_a_stream_may_not_be_stored_or_buffered_on_its_way(served: tuple[FastAPI, EventHub]) -> None:
    async with StreamClient(served[0]) as client:
        await client.until(lambda: client.parser.last_id)
        assert client.status == 200
        assert client.headers["content-type"].startswith("text/event-stream")
        assert client.headers["cache-control"] == "no-store"
        assert client.headers["x-accel-buffering"] == "no"
        assert "content-length" not in client.headers


@pytest.mark.parametrize(
    ("query", "header", "first"),
    [(f"last_event_id={id_at(1)}", None, 1), (f"last_event_id={id_at(1)}", id_at(2), 2), ("", id_at(0), 0)],
)
async def test_a_stream_goes_on_behind_the_last_event_and_the_header_counts_first(
    served: tuple[FastAPI, EventHub], query: str, header: str | None, first: int
) -> None:
    async with StreamClient(served[0], query, {"Last-Event-ID": header} if header else {}) as client:
        await client.take(3 - first)
        assert numbers(client) == list(range(first, 3))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("last_event_id=abc", "invalid_event_id"),
        ("since=2026-01-01T00:00:00", "invalid_request"),
        ("types=match,frames", "invalid_request"),
        ("decision=perhaps", "invalid_request"),
        ("min_score=2", "invalid_request"),
        ("min_score=nan", "invalid_request"),
        ("cameras=till-1", "invalid_request"),
    ],
)
async def test_a_parameter_that_is_wrong_or_unknown_is_a_problem(
    served: tuple[FastAPI, EventHub], query: str, code: str
) -> None:
    async with StreamClient(served[0], query) as client:
        await client.until(lambda: client.body)
        assert problem(client) == (400, code)


async def test_events_of_cameras_that_the_key_may_not_see_do_not_exist(served: tuple[FastAPI, EventHub]) -> None:
    app, hub = served
    async with StreamClient(app, f"camera=office&camera=till-9&last_event_id={id_at(3)}") as client:
        await client.until(lambda: client.parser.last_id)
        hub.ring.append(event(0, 3, camera="office"))
        hub.ring.append(event(0, 4, camera="till-9"))
        hub.ring.publish()
        await client.take(1)
        assert numbers(client) == [4]


async def test_one_stream_more_than_allowed_is_refused_until_one_ends(served: tuple[FastAPI, EventHub]) -> None:
    app, hub = served
    clients = [StreamClient(app) for _ in range(3)]
    async with clients[0], clients[1]:
        async with clients[2]:
            for client in clients:
                await client.until(lambda one=client: one.parser.last_id)
            async with StreamClient(app) as late:
                await late.until(lambda: late.body)
                assert problem(late) == (429, "too_many_streams")
                assert late.headers["retry-after"]
        async with StreamClient(app) as next_one:
            await next_one.until(lambda: next_one.parser.last_id)
    assert hub.metrics.clients._value.get() == 0  # noqa: SLF001  # the client library has no other way


async def test_a_client_that_takes_nothing_is_cut_off_and_leaves_nothing(served: tuple[FastAPI, EventHub]) -> None:
    app, hub = served
    before = asyncio.all_tasks()
    async with StreamClient(app) as client:
        await client.until(lambda: client.parser.last_id)
        client.reads.clear()
        hub.ring.append(event(0, 3))
        hub.ring.publish()
        await eventually(lambda: client.aborted)
        client.reads.set()
    assert asyncio.all_tasks() == before


async def test_clients_that_come_and_go_leave_nothing(served: tuple[FastAPI, EventHub]) -> None:
    before = asyncio.all_tasks()
    for number in range(50):
        async with StreamClient(served[0], headers={"Last-Event-ID": id_at(0)}) as client:
            client.cut_after(number * 20)
            if number % 2:
                await client.until(lambda one=client: one.sent_bytes)
    assert asyncio.all_tasks() == before


async def test_a_stop_of_the_service_ends_streams_and_says_so(served: tuple[FastAPI, EventHub]) -> None:
    app, _ = served
    async with StreamClient(app) as client:
        await client.until(lambda: client.parser.last_id)
        app.state.services.stop.set()
        await client.until(lambda: client.events)
        assert [(one.type, one.data) for one in client.events] == [("end", '{"reason":"shutdown"}')]
        assert client.task is not None
        await client.task
        assert not client.aborted


async def test_a_stop_does_not_wait_for_a_client_that_takes_nothing(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_module, "_LAST_SEND_S", 0.01)
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    async with stream_app(kafka, authenticator=keys, run=False, stream_send_timeout_s=1_000.0) as (app, hub):
        hub.ring.start(positions(0))
        async with StreamClient(app) as client:
            await client.until(lambda: client.parser.last_id)
            client.reads.clear()
            hub.ring.append(event(0, 0))
            hub.ring.publish()
            app.state.services.stop.set()
            await eventually(lambda: client.aborted)


@pytest.mark.parametrize("change", ["revoked", "other cameras"])
async def test_a_key_that_is_revoked_or_changed_ends_its_streams(
    served: tuple[FastAPI, EventHub], keys: Keys, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_module, "CHECK_S", 0.0)
    app, hub = served
    async with StreamClient(app) as client:
        await client.until(lambda: client.parser.last_id)
        if change == "revoked":
            keys.problem = Problem(401, "invalid_key", "the key was revoked")
        else:
            keys.cameras = ALL_CAMERAS
        hub.ring.append(event(0, 3))
        hub.ring.publish()
        await client.until(lambda: any(one.type == "end" for one in client.events))
        assert client.events[-1].data == '{"reason":"unauthorized"}'


async def test_while_nobody_can_check_a_key_its_streams_go_on(
    served: tuple[FastAPI, EventHub], keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_module, "CHECK_S", 0.0)
    app, hub = served
    async with StreamClient(app) as client:
        await client.until(lambda: client.parser.last_id)
        keys.problem = Problem(503, "unavailable", "MongoDB does not answer")
        for offset in (3, 4):
            hub.ring.append(event(0, offset))
            hub.ring.publish()
            await client.until(lambda wanted=offset: numbers(client)[-1:] == [wanted])


async def test_without_kafka_since_the_start_there_is_no_position_to_begin_at(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_START_TIMEOUT_S", 0.01)
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    async with stream_app(kafka, authenticator=keys, run=False) as (app, _), StreamClient(app) as client:
        await client.until(lambda: client.body)
        assert problem(client) == (503, "unavailable")


async def test_a_client_costs_little_memory(keys: Keys) -> None:
    count = 20
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    async with stream_app(kafka, authenticator=keys, run=False) as (app, hub), AsyncExitStack() as stack:
        hub.ring.start(positions(0))
        for offset in range(1_000):
            hub.ring.append(event(0, offset))

        async def connect(number: int) -> int:
            """Memory once so many more have everything that the ring has."""
            for _ in range(number):
                client = await stack.enter_async_context(StreamClient(app, f"last_event_id={id_at(980)}"))
                await client.take(20)
                client.events.clear()
                client.body = b""
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            first = await connect(1)
            more = await connect(count - 1) - first
        finally:
            tracemalloc.stop()
        assert more / (count - 1) < 60_000 < hub.ring.size_bytes / 10
