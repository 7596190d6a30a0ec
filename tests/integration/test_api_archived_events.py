"""Archived events over REST, from a real MongoDB: pages, filters, and what a key may see."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiokafka import ConsumerRecord
from prometheus_client import CollectorRegistry

from framematch.api.access.anonymous import AnonymousAuthenticator
from framematch.api.access.principal import Principal
from framematch.api.paging import PageTokens
from framematch.archive.entries import entry_of
from framematch.archive.metrics import ArchiveMetrics
from framematch.archive.writer import ArchiveWriter
from framematch.catalog.mongo import connect
from framematch.core.events import LogEvent, MatchEvent, SightingEvent, encode
from framematch.core.kafka.topics import Topics
from framematch.stack.mongodb import MongoServer
from tests.sample_events import AT_US, log_event, match_event, sighting_event
from tests.unit.api.fake_services import client_of, running_site

pytestmark = pytest.mark.integration

TOPICS = Topics("shop")
MATCHES = [match_event(number, camera=f"till-{number % 3}", at_us=AT_US + number // 4) for number in range(12)]
ENDED = sighting_event("ended", seen_us=AT_US + 9)


class Client:
    """Requests by a principal that the test chooses."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.principal = Principal("test", "key", frozenset({"admin"}), ("*",))

    async def authenticate(self, *_request: Any) -> Principal:
        return self.principal

    async def get(self, path: str, status: int = 200, **parameters: Any) -> Any:
        answer = await self._client.get(path, params=parameters)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def pages(self, path: str, **parameters: Any) -> list[list[dict[str, Any]]]:
        found: list[list[dict[str, Any]]] = []
        token: dict[str, Any] = {}
        while True:
            page = await self.get(path, **parameters, **token)
            found.append(page["items"])
            if page["next_page_token"] is None or not page["items"]:
                return found
            token = {"page_token": page["next_page_token"]}


def record(topic: str, event: MatchEvent | SightingEvent | LogEvent) -> Any:
    return ConsumerRecord(
        topic=topic, partition=0, offset=0, timestamp=0, timestamp_type=0, key=b"", value=encode(event), checksum=None,
        serialized_key_size=0, serialized_value_size=0, headers=(),
    )  # fmt: skip


@pytest.fixture
async def api(mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    async with running_site() as site, await connect(mongodb.uri) as mongo, client_of(site) as http:
        database = mongo[f"events-{uuid.uuid4().hex[:8]}"]
        writer = ArchiveWriter(database, ArchiveMetrics(CollectorRegistry()))
        records = [record(TOPICS.matches, event) for event in MATCHES]
        records += [record(TOPICS.sightings, event) for event in (sighting_event(), ENDED)]
        records += [record(TOPICS.logs, log_event(number, at_us=AT_US + number)) for number in range(3)]
        await writer.write([entry_of(one, TOPICS) for one in records])
        site.app.state.services.database = database
        site.app.state.services.page_tokens = PageTokens(b"k" * 32)
        client = Client(http)
        monkeypatch.setattr(AnonymousAuthenticator, "authenticate", client.authenticate)
        yield client


async def test_pages_have_every_event_once_as_it_was_published(api: Client) -> None:
    published = {event.id: json.loads(encode(event)) for event in MATCHES}
    by_time = await api.pages("/v1/matches", page_size=5)
    assert [len(page) for page in by_time] == [5, 5, 2]
    found = [event for page in by_time for event in page]
    assert {event["id"]: event for event in found} == published
    assert [event["frame"]["captured_at"] for event in found] == sorted(
        (event["frame"]["captured_at"] for event in published.values()), reverse=True
    )
    by_arrival = [
        event["id"] for page in await api.pages("/v1/matches", page_size=5, order="arrival") for event in page
    ]
    assert by_arrival == [event.id for event in MATCHES]


async def test_filters_and_single_events(api: Client) -> None:
    found = await api.get("/v1/matches", camera=["till-0", "till-1"], decision="match", min_score=0.5)
    assert {event["frame"]["camera"] for event in found["items"]} == {"till-0", "till-1"}
    since = "2026-01-01T01:00:00.000001+01:00"
    assert len((await api.get("/v1/matches", since=since))["items"]) == 8
    assert len((await api.get("/v1/matches", until=since, product="milk"))["items"]) == 4
    assert (await api.get("/v1/matches", product="bread"))["items"] == []
    assert await api.get(f"/v1/matches/{MATCHES[7].id}") == json.loads(encode(MATCHES[7]))
    assert await api.get(f"/v1/sightings/{ENDED.sighting}") == json.loads(encode(ENDED))
    assert (await api.get("/v1/sightings", kind="ended"))["items"] == [json.loads(encode(ENDED))]
    assert (await api.get("/v1/sightings", kind="started"))["items"] == []
    logs = await api.get("/v1/logs", service="edge", level="info", event="camera_opened", camera="till-1")
    assert [event["id"][-1] for event in logs["items"]] == ["2", "1", "0"]


async def test_what_a_key_may_not_see_does_not_exist_for_it(api: Client) -> None:
    api.principal = Principal("test", "key", frozenset({"read"}), ("till-[02]",))
    found = [event for page in await api.pages("/v1/matches", page_size=3) for event in page]
    assert {event["frame"]["camera"] for event in found} == {"till-0", "till-2"}
    assert len(found) == 8
    assert (await api.get("/v1/matches", camera="till-1"))["items"] == []
    await api.get(f"/v1/matches/{MATCHES[3].id}")
    assert (await api.get(f"/v1/matches/{MATCHES[1].id}", 404))["type"] == "/problems/not_found"
    await api.get(f"/v1/sightings/{ENDED.sighting}", 404)
    await api.get("/v1/logs", 403)


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"until": "yesterday"}, "until"),
        ({"page_size": 501}, "page_size"),
        ({"page_size": 0}, "page_size"),
        ({"decision": "maybe"}, "decision"),
        ({"order": "random"}, "order"),
        ({"offset": 5}, "offset"),
        ({"min_score": "nan"}, "min_score"),
    ],
)
async def test_a_wrong_parameter_is_named(api: Client, parameters: dict[str, Any], where: str) -> None:
    problem = await api.get("/v1/matches", 400, **parameters)
    assert where in problem["errors"][0]["pointer"]


async def test_a_page_token_belongs_to_its_list_and_filters(api: Client) -> None:
    token = (await api.get("/v1/matches", page_size=2, decision="match"))["next_page_token"]
    await api.get("/v1/matches", page_token=token, page_size=5, decision="match")
    for path, parameters in (
        ("/v1/matches", {}),
        ("/v1/matches", {"decision": "match", "order": "arrival"}),
        ("/v1/sightings", {"kind": "ended"}),
    ):
        problem = await api.get(path, 400, page_token=token, **parameters)
        assert problem["type"] == "/problems/invalid_page_token"
