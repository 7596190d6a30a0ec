"""Match and search by the application: decisions, problems for single pictures, and what happens under load."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from framematch.core.arrays import Pixels
from framematch.core.errors import MongoUnavailableError, TritonUnavailableError
from tests.support import eventually
from tests.unit.api.fake_services import FakeSite, RawRequest, client_of, running_site, statuses
from tests.unit.pictures.samples import encoded, with_orientation

AWAY = TritonUnavailableError("Triton does not answer")


def pixels(level: int) -> Pixels:
    """A picture with this mean brightness, which shows something."""
    found = np.full((16, 16, 3), level, np.uint8)
    found[:8, :8] += 30
    found[8:, :8] -= 30
    return found


MILK, UNKNOWN, WHITE = (encoded(pixels(level), "PNG") for level in (160, 100, 225))
NOTHING = encoded(Image.new("RGB", (16, 16), (160, 160, 160)), "PNG")


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    async with running_site() as running:
        yield running


@pytest.fixture
async def client(site: FakeSite) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(site) as one:
        yield one


async def until_wanted(site: FakeSite, requests: int) -> None:
    """Return once so many requests of one picture are at the model or wait for a batch, each in a batch of its own."""
    await eventually(lambda: site.encoder.waiting + site.engine.waiting == requests)


def files(*pictures: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("image", ("photo", data, "image/png")) for data in pictures]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def match(client: httpx.AsyncClient, *pictures: bytes, **fields: str) -> httpx.Response:
    return await client.post("/v1/match", files=files(*pictures), data=fields)


async def test_each_picture_has_a_decision_or_a_problem_of_its_own(client: httpx.AsyncClient) -> None:
    answer = await match(client, MILK, b"no picture", UNKNOWN, WHITE, NOTHING)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    results = found["results"]
    region = results[0]["regions"][0]
    assert (results[0]["width"], results[0]["height"], region["region"]) == (16, 16, [0, 0, 16, 16])
    assert (region["decision"], region["product"]["name"], region["threshold"]) == ("match", "Fresh Milk", 0.55)
    assert [one["product_id"] for one in region["candidates"]] == ["milk", "juice"]
    assert region["margin"] == pytest.approx(region["score"] - 0.5, abs=1e-6)
    assert [results[n]["problem"]["reason"] for n in (1, 3)] == ["not_a_picture", "invalid_embedding"]
    assert results[1]["problem"]["type"] == "/problems/invalid_picture"
    assert (results[2]["regions"][0]["decision"], results[2]["regions"][0]["product"]) == ("unknown", None)
    assert (results[4]["regions"][0]["reason"], results[4]["regions"][0]["score"]) == ("no_content", None)
    assert (found["snapshot"], found["delta"], found["metadata_state"]) == ("snapshot", 3, "fresh")
    assert found["timings_ms"].keys() == {"decode", "infer", "search", "enrich"}


async def test_regions_are_in_pixels_of_the_upright_picture_and_are_clipped(client: httpx.AsyncClient) -> None:
    turned = with_orientation(np.concatenate([pixels(100), pixels(160)], axis=1), 6, "PNG")
    answer = await match(client, turned, regions="[[0,0,16,16],[16,0,99,99],[32,0,1,1]]")
    assert answer.json()["results"][0]["problem"]["reason"] == "region"
    answer = await match(client, turned, regions="[[0,0,16,16],[16,0,99,99]]")
    result = answer.json()["results"][0]
    assert (result["width"], result["height"]) == (32, 16)
    assert [(one["region"], one["decision"]) for one in result["regions"]] == [
        ([0, 0, 16, 16], "unknown"),
        ([16, 0, 16, 16], "match"),
    ]


async def test_base64_and_file_and_the_seeds_call_give_the_same(client: httpx.AsyncClient) -> None:
    answers = [
        await match(client, MILK),
        await client.post("/v1/match", json={"images": [{"content": b64(MILK)}]}),
        await client.post("/match-product", files={"file": ("photo", MILK)}),
    ]
    assert statuses(answers) == [200] * 3
    assert answers[0].json()["results"] == answers[1].json()["results"] == answers[2].json()["results"]


async def test_one_candidate_is_shown_and_the_second_decides_nevertheless(client: httpx.AsyncClient) -> None:
    region = (await match(client, MILK, top_k="1")).json()["results"][0]["regions"][0]
    assert (len(region["candidates"]), region["margin"]) == (1, pytest.approx(0.12, abs=0.02))


async def test_requests_of_one_moment_share_batches_and_searches(site: FakeSite, client: httpx.AsyncClient) -> None:
    site.encoder.go.clear()
    requests = []
    for busy in (1, 2):
        requests.append(asyncio.ensure_future(match(client, MILK)))
        await until_wanted(site, busy)
    requests += [asyncio.ensure_future(match(client, MILK)) for _ in range(6)]
    await eventually(lambda: site.metric("framematch_api_pictures_in_flight") == 8)
    await eventually(lambda: site.engine.waiting == 6)
    site.encoder.go.set()
    assert statuses(await asyncio.gather(*requests)) == [200] * 8
    assert site.encoder.batches == [1, 1, 6]
    assert sum(rows for rows, _ in site.matcher.searches) == 8
    assert len(site.matcher.searches) < 8


async def test_without_mongodb_a_match_has_the_id_alone_and_says_so(site: FakeSite, client: httpx.AsyncClient) -> None:
    site.store.error = MongoUnavailableError("MongoDB is away")
    found = (await match(client, MILK)).json()
    assert found["metadata_state"] == "missing"
    assert found["results"][0]["regions"][0]["product"]["name"] == "milk"


async def test_while_triton_is_away_the_answer_is_503_before_the_body_is_read(
    site: FakeSite, client: httpx.AsyncClient
) -> None:
    site.encoder.error = AWAY
    first = await match(client, MILK)  # finds out
    assert (first.status_code, first.headers["retry-after"]) == (503, "2")
    await eventually(lambda: not _available(site))
    request = RawRequest(site, "/v1/match", {"content-type": "application/json"})
    await request.done
    assert request.status == 503
    site.encoder.error = None
    await eventually(lambda: _available(site))
    assert (await match(client, MILK)).status_code == 200


async def test_who_waits_for_triton_is_answered_when_it_is_found_to_be_away(
    site: FakeSite, client: httpx.AsyncClient
) -> None:
    site.encoder.go.clear()
    waiting = asyncio.ensure_future(match(client, MILK))
    await eventually(lambda: site.encoder.waiting == 1)
    site.encoder.error = AWAY
    site.triton.doubt()
    assert (await waiting).status_code == 503
    assert site.encoder.waiting == 0


async def test_a_request_that_takes_too_long_is_504_and_its_batch_is_given_up(
    site: FakeSite, client: httpx.AsyncClient
) -> None:
    site.encoder.go.clear()
    late = await client.post("/v1/match", files=files(MILK), headers={"Prefer": "wait=0.05"})
    assert (late.status_code, late.json()["type"]) == (504, "/problems/deadline_exceeded")
    await eventually(lambda: site.encoder.waiting == 0)


async def test_for_a_client_that_has_left_nothing_is_computed(site: FakeSite) -> None:
    site.encoder.go.clear()
    body = f'{{"images":[{{"content":"{b64(MILK)}"}}]}}'.encode()
    requests = [RawRequest(site, "/v1/match", {"content-type": "application/json"}) for _ in range(4)]
    for number, request in enumerate(requests, 1):
        request.send(body)
        await until_wanted(site, number)
    for request in requests:
        request.leave()
    await asyncio.wait({request.done for request in requests})
    await eventually(lambda: site.encoder.waiting == 0)
    assert site.encoder.batches == [1, 1], "those that waited were never sent"
    assert site.metric("framematch_api_abandoned_total") == 4
    assert site.metric("framematch_api_pictures_in_flight") == 0


async def test_beyond_the_slots_the_answer_is_429_at_once() -> None:
    async with running_site(pictures_in_flight_max=64) as site, client_of(site) as client:
        site.encoder.go.clear()
        waiting = [asyncio.ensure_future(match(client, *[MILK] * 16)) for _ in range(2)]
        await eventually(lambda: site.metric("framematch_api_pictures_in_flight") == 32)
        full = await match(client, MILK)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        request = RawRequest(site, "/v1/match", {"content-type": "application/json"})
        await request.done  # without a body
        assert request.status == 429
        assert site.metric("framematch_api_rejected_total", reason="full") == 2
        site.encoder.go.set()
        assert statuses(await asyncio.gather(*waiting)) == [200] * 2


async def test_a_slow_upload_holds_its_bytes_and_no_slot(site: FakeSite) -> None:
    request = RawRequest(site, "/v1/match", {"content-type": "application/json"})
    request.send(b'{"images":[', more=True)
    await eventually(lambda: site.metric("framematch_api_body_bytes_in_flight") == 11)
    assert site.metric("framematch_api_pictures_in_flight") == 0
    request.leave()
    await request.done
    assert site.metric("framematch_api_body_bytes_in_flight") == 0


async def test_an_upload_that_is_too_slow_is_ended() -> None:
    async with running_site(upload_timeout_s=0.05) as site:
        request = RawRequest(site, "/v1/match", {"content-type": "application/json"})
        request.send(b'{"images":[', more=True)
        await request.done
        assert request.status == 408


async def test_an_upload_that_ends_early_is_counted_and_not_answered(site: FakeSite) -> None:
    request = RawRequest(site, "/v1/match", {"content-type": "application/json"})
    request.send(b'{"images":[', more=True)
    request.leave()
    await request.done
    labels = {"method": "POST", "route": "/v1/match", "status": "499"}
    assert site.metric("framematch_api_request_duration_seconds_count", **labels) == 1


async def test_bodies_beyond_what_fits_into_memory_are_refused_by_their_declared_size() -> None:
    async with running_site(body_mb_in_flight_max=40) as site:
        slow = RawRequest(site, "/v1/match", {"content-type": "application/json"})
        slow.send(bytes(20_000_000), more=True)
        await eventually(lambda: site.metric("framematch_api_body_bytes_in_flight") == 20_000_000)
        large = RawRequest(site, "/v1/match", {"content-type": "a/b", "content-length": "20000001"})
        await large.done
        assert large.status == 429
        slow.leave()
        await slow.done


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_beyond_the_limit_is_413(site: FakeSite, declared: bool) -> None:
    length = {"content-length": "40000001"} if declared else {}
    request = RawRequest(site, "/v1/match", {"content-type": "application/json", **length})
    if not declared:
        for _ in range(3):
            request.send(bytes(20_000_000), more=True)
    await request.done
    assert request.status == 413


async def test_without_an_index_the_answer_is_503(client: httpx.AsyncClient, site: FakeSite) -> None:
    def no_snapshot() -> Any:
        raise TritonUnavailableError("there is no index")

    site.app.state.services.served = no_snapshot
    assert (await match(client, MILK)).status_code == 503


async def test_a_search_by_picture_has_hits_with_the_picture_that_is_nearest(client: httpx.AsyncClient) -> None:
    found = (await client.post("/v1/search", files=files(MILK), data={"top_k": "1"})).json()
    assert (found["near"], found["decision"], found["created_at"]) == (True, "match", "2026-01-31T12:00:00Z")
    [hit] = found["hits"]
    assert (hit["product"]["id"], hit["reference_image"]) == ("milk", "00ff")


@pytest.mark.parametrize(("fields", "ids"), [({}, []), ({"min_score": "0.45"}, ["juice"]), ({"min_score": "-1"}, None)])
async def test_nothing_is_near_is_an_empty_list_unless_a_least_score_is_given(
    client: httpx.AsyncClient, fields: dict[str, str], ids: list[str] | None
) -> None:
    found = (await client.post("/v1/search", files=files(UNKNOWN), data=fields)).json()
    assert found["near"] is False
    assert [hit["product"]["id"] for hit in found["hits"]] == (["juice", "milk"] if ids is None else ids)


async def test_a_filter_leaves_the_products_that_fit(client: httpx.AsyncClient) -> None:
    body = {"image": b64(MILK), "filter": {"attributes": {"kind": "juice"}}, "min_score": 0}
    found = (await client.post("/v1/search", json=body)).json()
    assert ([hit["product"]["id"] for hit in found["hits"]], found["products_searched"]) == (["juice"], 1)


async def test_a_picture_that_cannot_be_searched_for_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/search", files=files(b"text"))
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid_picture")


def _available(site: FakeSite) -> bool:
    try:
        site.triton.check()
    except TritonUnavailableError:
        return False
    return True
