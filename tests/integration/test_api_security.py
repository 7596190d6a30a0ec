"""Every route against keys and tokens that must not do, hostile requests, and canaries. New routes are covered too."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import structlog

from framematch.api.access.key_store import create_key, revoke_key
from framematch.api.access.keys import key_text, new_key_id, new_secret
from framematch.api.access.principal import SCOPES
from framematch.api.server import serving
from framematch.catalog.mongo import Database
from framematch.core.logging import configure_logging
from framematch.stack.mongodb import MongoServer
from tests.integration.api_site import ApiSite, Route, all_routes, running_site
from tests.integration.issuer import AUDIENCE, encoded, new_rsa_key
from tests.support import eventually

PUBLIC = {"/healthz", "/readyz", "/health", "/metrics", "/openapi.json", "/docs"}
ROUTES = list(all_routes())
CLOSED = [route for route in ROUTES if route.access.scope is not None]
HOSTILE = ("..%2f..%2fetc%2fpasswd", "%2e%2e%00%ff", "%0d%0aX-Evil:%201", "a" * 5_000, "{'$gt':''}")


@pytest.fixture
async def site(mongodb: MongoServer, database: Database) -> AsyncIterator[ApiSite]:
    async with running_site(mongodb.uri, database.name) as site:
        yield site


async def statuses(site: ApiSite, routes: list[Route], credential: str | None) -> dict[str, int]:
    """The status that each route answers with."""
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    found = {}
    for route in routes:
        answer = await site.client.request(route.method, route.path(), headers=headers)
        assert answer.headers["content-type"] == "application/problem+json", route
        assert ("www-authenticate" in answer.headers) is (answer.status_code == 401)
        found[f"{route.method} {route.template}"] = answer.status_code
    return found


def all_are(status: int, routes: list[Route]) -> dict[str, int]:
    return {f"{route.method} {route.template}": status for route in routes}


def test_only_paths_that_tell_nothing_are_open_to_everybody() -> None:
    open_paths = {route.template for route in ROUTES if route.access.scope is None}
    assert {path for path in open_paths if not path.startswith("/docs/")} <= PUBLIC


async def test_no_route_answers_without_a_key(site: ApiSite) -> None:
    assert await statuses(site, CLOSED, None) == all_are(401, CLOSED)


@pytest.mark.parametrize("scope", [scope for scope in SCOPES if scope != "admin"])
async def test_no_route_answers_to_another_scope(site: ApiSite, scope: str) -> None:
    others = [route for route in CLOSED if route.access.scope != scope]
    assert await statuses(site, others, await site.key(scope)) == all_are(403, others)
    assert await statuses(site, others, site.issuer.token(scope=f"framematch:{scope}")) == all_are(403, others)


async def test_no_route_answers_to_a_key_or_token_that_is_not_valid(site: ApiSite) -> None:
    now = datetime.now(UTC)
    expired = await site.key("admin", expires_at=now - timedelta(seconds=1))
    revoked, revoked_text = await create_key(site.services.database, name="x", scopes=["admin"], cameras=["*"])
    await revoke_key(site.services.database, revoked.id)
    admin = "framematch:admin"
    site.issuer.rotate("first", new_rsa_key())
    good = site.issuer.token(scope="framematch:read")
    forged = {"iss": site.issuer.url, "aud": AUDIENCE, "sub": "eve", "exp": 4e9, "scope": admin}
    bad = {
        "expired key": expired,
        "revoked key": revoked_text,
        "unknown key": key_text(new_key_id(), new_secret()),
        "id with another secret": key_text(revoked.id, new_secret()),
        "id alone": revoked.id,
        "expired token": site.issuer.token(scope=admin, exp=now.timestamp() - 90),
        "token for another audience": site.issuer.token(scope=admin, aud="other"),
        "token of another issuer": site.issuer.token(scope=admin, iss="https://evil.example"),
        "token without signature": f"{encoded({'alg': 'none'})}.{good.split('.')[1]}.",
        "token signed with the public key": site.issuer.signed_with_public_key(scope=admin),
        "token with a changed claim": good.replace(good.split(".")[1], encoded(forged)),
    }
    for what, credential in bad.items():
        assert await statuses(site, CLOSED, credential) == all_are(401, CLOSED), what


async def test_a_token_of_a_rotated_key_is_accepted(site: ApiSite) -> None:
    site.issuer.rotate("next")
    headers = {"Authorization": f"Bearer {site.issuer.token(scope='framematch:admin')}"}
    assert (await site.client.get("/v1/api_keys", headers=headers)).status_code == 200


async def test_hostile_ids_break_no_route(site: ApiSite) -> None:
    headers = {"X-API-Key": await site.key("admin")}
    for route in CLOSED:
        for value in HOSTILE if "{" in route.template else ():
            answer = await site.client.request(route.method, route.path(value), headers=headers, content=b"{}")
            assert answer.status_code in (400, 404, 405, 409, 413, 415, 503), (route, value, answer.text)
            assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    "head",
    [
        "POST /v1/api_keys HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST /v1/api_keys HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello",
        "POST /v1/api_keys HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/api_keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "GET /v1/api_keys HTTP/1.1\r\nHost: a\r\nX-Request-ID: a\rX-Evil: 1\r\n\r\n",
        "GET /v1/api_keys HTTP/1.1\r\nHost: a\r\nX-Request-ID: a\x00\r\n\r\n",
        "GET /v1/api_keys HTTP/1.1\r\nHost: a\r\nX-API-Key : spaced\r\n\r\n",
    ],
)
async def test_requests_that_a_proxy_could_read_in_another_way_are_refused(site: ApiSite, head: str) -> None:
    async with serving(site.app, site.services.settings.api, drain_s=1) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        # A second request behind the first: it must never be answered as if it were another client's.
        writer.write(head.encode("latin-1") + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.close()
    assert answer.split()[1] in (b"400", b"401")
    assert b"x-evil" not in answer.lower()


async def test_pages_of_other_origins_may_read_nothing_by_default(site: ApiSite) -> None:
    headers = {"Origin": "https://evil.example", "X-API-Key": await site.key("admin")}
    answer = await site.client.get("/v1/api_keys", headers=headers)
    assert "access-control-allow-origin" not in answer.headers
    preflight = {**headers, "Access-Control-Request-Method": "GET"}
    assert "access-control-allow-origin" not in (await site.client.options("/v1/api_keys", headers=preflight)).headers


async def test_an_origin_in_the_list_may_read_answers_and_no_other(mongodb: MongoServer, database: Database) -> None:
    async with running_site(mongodb.uri, database.name, cors_origins=["https://shop.example"]) as site:
        for origin, allowed in (("https://shop.example", "https://shop.example"), ("https://evil.example", None)):
            headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            answer = await site.client.options("/v1/api_keys", headers=headers)
            assert answer.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in answer.headers


async def test_without_keys_neither_a_rebound_name_nor_a_page_of_another_site_gets_in(
    mongodb: MongoServer, database: Database
) -> None:
    async with running_site(mongodb.uri, database.name, auth="none") as site:
        local = {"Host": "127.0.0.1:8080"}
        assert (await site.client.get("/v1/api_keys", headers=local)).status_code == 200
        assert (await site.client.get("/v1/api_keys", headers={"Host": "evil.example"})).status_code == 400
        new = {"name": "a", "scopes": ["read"]}
        for bad in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await site.client.post("/v1/api_keys", headers=local | bad, json=new)).status_code == 403
        same = local | {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
        assert (await site.client.post("/v1/api_keys", headers=same, json=new)).status_code == 201


async def test_every_answer_has_the_headers_that_protect_a_browser(site: ApiSite) -> None:
    for path in ("/healthz", "/v1/api_keys", "/nothing"):
        headers = (await site.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_key_over_its_rate_is_told_when_to_come_back(site: ApiSite) -> None:
    headers = {"X-API-Key": await site.key("admin", requests_per_minute=2)}
    answers = [await site.client.get("/v1/api_keys", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert 0 < int(answers[2].headers["retry-after"]) <= 90


async def test_an_administrator_gives_no_camera_that_he_does_not_see(site: ApiSite) -> None:
    headers = {"X-API-Key": await site.key("admin", cameras=["till-*"])}
    wide = await site.key("admin", name="wide")
    for cameras, status in ((["*"], 403), (["till-?*"], 403), (["door"], 403), (["till-1"], 201), (["till-*"], 201)):
        new = {"name": "a", "scopes": ["read"], "cameras": cameras}
        assert (await site.client.post("/v1/api_keys", headers=headers, json=new)).status_code == status, cameras
    rotate = f"/v1/api_keys/{wide.split('_')[1]}:rotate"
    assert (await site.client.post(rotate, headers=headers, json={})).status_code == 403


async def test_changes_and_refused_ones_are_in_the_audit_log_and_reading_is_not(site: ApiSite) -> None:
    admin, reader = await site.key("admin", name="boss"), await site.key("read", name="reader")
    new = {"name": "made", "scopes": ["read"]}
    made = await site.client.post("/v1/api_keys", headers={"X-API-Key": admin}, json=new)
    await site.client.post("/v1/api_keys", headers={"X-API-Key": reader}, json=new)
    await site.client.delete(f"/v1/api_keys/{made.json()['id']}", headers={"X-API-Key": admin})
    await site.client.get("/v1/api_keys", headers={"X-API-Key": admin})

    async def entries() -> list[tuple[str, str, str, int]]:
        answer = await site.client.get("/v1/audit_log", headers={"X-API-Key": admin})
        items = answer.json()["items"]
        return [
            (item["principal"], item["method"], item["parameters"].get("key_id", ""), item["status"]) for item in items
        ]

    key_id = made.json()["id"]
    wanted = [("boss", "DELETE", key_id, 204), ("reader", "POST", "", 403), ("boss", "POST", key_id, 201)]

    async def is_complete() -> bool:
        return sorted(await entries()) == sorted(wanted)

    await eventually(is_complete, timeout_s=10)


@pytest.mark.parametrize(("proxies", "client"), [([], "127.0.0.1"), (["127.0.0.0/8"], "192.0.2.7")])
async def test_only_a_trusted_proxy_says_who_the_client_is(
    mongodb: MongoServer, database: Database, proxies: list[str], client: str
) -> None:
    async with running_site(mongodb.uri, database.name, trusted_proxies=proxies) as site:
        headers = {"X-API-Key": await site.key("read"), "X-Forwarded-For": "198.51.100.1, 192.0.2.7"}
        async with serving(site.app, site.services.settings.api, drain_s=1) as url, httpx.AsyncClient() as browser:
            assert (await browser.delete(f"{url}/v1/api_keys/0123456789ab", headers=headers)).status_code == 403

        async def found() -> bool:
            return [entry["client"] async for entry in site.services.database.audit.find()] == [client]

        await eventually(found, timeout_s=10)


async def test_the_audit_log_is_read_in_pages_with_filters(site: ApiSite) -> None:
    headers = {"X-API-Key": await site.key("admin", name="boss")}
    for number in range(5):
        await site.client.post("/v1/api_keys", headers=headers, json={"name": f"k{number}", "scopes": ["read"]})

    async def written() -> bool:
        return await site.services.database.audit.count_documents({}) == 5

    await eventually(written, timeout_s=10)
    seen: list[str] = []
    token = None
    for _ in range(3):
        query = {"page_size": "2", "name": "boss", **({"page_token": token} if token else {})}
        page = (await site.client.get("/v1/audit_log", headers=headers, params=query)).json()
        seen += [item["id"] for item in page["items"]]
        token = page["next_page_token"]
    assert (len(seen), len(set(seen)), token) == (5, 5, None)
    future = {"since": "2100-01-01T00:00:00Z"}
    assert (await site.client.get("/v1/audit_log", headers=headers, params=future)).json()["items"] == []
    naive = {"since": "2026-01-01T00:00:00"}
    assert (await site.client.get("/v1/audit_log", headers=headers, params=naive)).status_code == 400


async def test_a_key_lives_from_creation_through_rotation_to_its_end(site: ApiSite) -> None:
    headers = {"X-API-Key": await site.key("admin")}
    made = (await site.client.post("/v1/api_keys", headers=headers, json={"name": "a", "scopes": ["admin"]})).json()
    path = f"/v1/api_keys/{made['id']}"
    rotated = (await site.client.post(f"{path}:rotate", headers=headers, json={"grace_s": 60})).json()
    for key in (made["key"], rotated["key"]):
        shown = (await site.client.get(path, headers={"X-API-Key": key})).json()
        assert (shown["state"], "key" in shown) == ("active", False)
    assert (await site.client.delete(path, headers=headers)).status_code == 204
    assert (await site.client.get(path, headers={"X-API-Key": rotated["key"]})).status_code == 401
    assert (await site.client.post(f"{path}:rotate", headers=headers, json={})).status_code == 409
    assert (await site.client.get(path, headers=headers)).json()["state"] == "revoked"


async def test_secrets_are_in_no_log_metric_problem_or_audit_entry(
    site: ApiSite, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("debug", "json", service="api")
    admin, expired = await site.key("admin"), await site.key("read", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    token = site.issuer.token(scope="framematch:admin")
    canaries = [part for text in (admin, expired) for part in [text.rpartition("_")[2]]] + token.split(".")[1:]
    answers = []
    for secret in (admin, expired, token):
        for headers in ({"X-API-Key": secret}, {"Authorization": f"Bearer {secret}"}, {"Authorization": secret}):
            answers.append(await site.client.get("/v1/api_keys", headers=headers))
            answers.append(await site.client.delete("/v1/api_keys/0123456789ab", headers=headers))
        answers.append(await site.client.get(f"/v1/api_keys?api_key={secret}"))
        answers.append(await site.client.get(f"/v1/api_keys/{secret}"))
        answers.append(await site.client.get("/v1/api_keys", headers={"X-Request-ID": secret}))
        structlog.get_logger().warning("request_refused", address=f"/v1/match?q={secret}", header=f"Bearer {secret}")
    created = await site.client.post(
        "/v1/api_keys", headers={"X-API-Key": admin}, json={"name": "a", "scopes": ["read"]}
    )
    canaries.append(created.json()["key"].rpartition("_")[2])

    async def written() -> bool:
        return await site.services.database.audit.count_documents({}) > 0

    await eventually(written, timeout_s=10)
    shown = "".join(answer.text + repr(answer.headers) for answer in answers)
    shown += (await site.client.get("/metrics")).text + capsys.readouterr().err
    shown += repr(await site.services.database.audit.find().to_list())
    shown += repr(await site.services.database.api_keys.find().to_list())
    assert [canary for canary in canaries if canary in shown] == []
