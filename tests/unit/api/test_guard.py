"""What every request passes: route, access, size, request id, problems."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from prometheus_client import CollectorRegistry
from starlette.datastructures import Headers

from framematch.api.access.policy import access
from framematch.api.access.principal import ALL_CAMERAS, Principal
from framematch.api.access.rate_limit import RateLimit
from framematch.api.guard.guard import Guard, GuardRules
from framematch.api.guard.origin import HostCheck
from framematch.api.guard.request_context import RequestContext
from framematch.api.guard.route_table import RouteTable
from framematch.api.metrics import ApiMetrics
from framematch.api.problems import Problem

router = APIRouter()


@router.get("/things/{thing}", openapi_extra=access("read"))
async def get_thing(thing: str, request: Request) -> dict[str, str]:
    return {"thing": thing, "principal": request.state.principal.name}


@router.post("/things", openapi_extra=access("operate", body_mb=0.001))
async def post_thing(request: Request) -> int:
    return len(await request.body())


@router.get("/broken", openapi_extra=access("public"))
async def broken() -> None:
    raise RuntimeError("rtsp://user:canary@camera")


class Reader:
    """Knows one key, which may read."""

    async def authenticate(self, headers: Headers, _client: str) -> Principal:
        if headers.get("x-api-key") != "good":
            raise Problem(401, "no_key", "there is no key", headers={"WWW-Authenticate": "Bearer"})
        return Principal("reader", "key", frozenset({"read"}), ALL_CAMERAS)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app, metrics = FastAPI(), ApiMetrics(CollectorRegistry())
    app.include_router(router)
    rules = GuardRules(Reader(), RateLimit(0), HostCheck([], loopback_only=False))
    app.add_middleware(Guard, routes=RouteTable([router]), rules=rules, metrics=metrics)
    app.add_middleware(RequestContext, metrics=metrics)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers={"X-API-Key": "good"}) as client:
        yield client


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.content)
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["status"] == answer.status_code
    return found


async def test_a_request_reaches_its_route_with_its_principal(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/a")
    assert answer.json() == {"thing": "a", "principal": "reader"}


async def test_an_answer_is_not_cached_and_not_sniffed(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/a")
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")


async def test_without_a_key_a_request_is_refused_with_the_way_to_give_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/a", headers={"X-API-Key": "bad"})
    assert problem_of(answer)["type"] == "/problems/no_key"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_scope_that_is_missing_is_named(client: httpx.AsyncClient) -> None:
    found = problem_of(await client.post("/things", content=b""))
    assert (found["status"], found["hint"]) == (403, "It needs the scope operate")


async def test_an_unknown_path_is_a_problem_and_not_a_question_of_keys(client: httpx.AsyncClient) -> None:
    assert problem_of(await client.get("/nothing", headers={"X-API-Key": "bad"}))["status"] == 404


async def test_a_method_that_a_path_does_not_have_names_those_that_it_has(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/things/a")
    assert (problem_of(answer)["status"], answer.headers["allow"]) == (405, "GET")


async def test_a_request_id_of_the_client_is_kept_if_it_is_a_plain_word(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/a", headers={"X-Request-ID": "order-7"})
    assert answer.headers["x-request-id"] == "order-7"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 101, '"quoted"', "a,b"])
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, bad: str) -> None:
    answer = await client.get("/things/a", headers={"X-Request-ID": bad})
    assert len(answer.headers["x-request-id"]) == 32


async def test_a_bug_is_a_problem_that_does_not_show_its_cause(client: httpx.AsyncClient) -> None:
    answer = await client.get("/broken")
    assert problem_of(answer)["status"] == 500
    assert b"canary" not in answer.content


def test_a_route_without_declared_access_is_refused_at_the_start() -> None:
    careless = APIRouter()
    careless.get("/open")(broken)
    with pytest.raises(ValueError, match="/open does not say who may use it"):
        RouteTable([careless])
