"""Pictures are asked for from real HTTP servers that answer in every way but the right one."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trustme
from yarl import URL

from framematch.catalog.importing.pictures.web.allowed_hosts import AllowedHosts, parse_address
from framematch.catalog.importing.pictures.web.body import ByteBudget
from framematch.catalog.importing.pictures.web.checked_resolver import CheckedResolver, PrivateAddressError
from framematch.catalog.importing.pictures.web.failures import DownloadError, Failure
from framematch.catalog.importing.pictures.web.requests import PictureRequests, Validators, WebLimits, open_requests
from framematch.catalog.importing.problems import ProblemKind
from tests.integration.scripted_host import ScriptedHost, ScriptedResolver, reply, running_host

pytestmark = pytest.mark.integration

LIMITS = WebLimits(picture_bytes_max=100_000)
PICTURE = b"bytes of a picture"


@pytest.fixture
async def host() -> AsyncIterator[ScriptedHost]:
    async with running_host() as host:
        yield host


@asynccontextmanager
async def asking(
    host: ScriptedHost,
    *patterns: str,
    limits: WebLimits = LIMITS,
    resolver: ScriptedResolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
    any_public_host: bool = False,
) -> AsyncIterator[PictureRequests]:
    """Requests to the host at 127.0.0.1, and what else the patterns allow."""
    allowed = AllowedHosts([f"127.0.0.1:{host.port}", *patterns], any_public_host=any_public_host)
    budget = ByteBudget(limits.held_bytes)
    async with open_requests(allowed, limits, budget, resolver=resolver, ssl_context=ssl_context) as requests:
        yield requests


def at(host: ScriptedHost, path: str = "/a.jpg", name: str = "127.0.0.1") -> URL:
    return URL(f"http://{name}:{host.port}{path}", encoded=True)


async def failure_of(requests: PictureRequests, url: URL) -> Failure:
    with pytest.raises(DownloadError) as caught:
        await requests.ask(url, None)
    return caught.value.failure


async def test_a_picture_comes_with_what_tells_its_version(host: ScriptedHost) -> None:
    host.give("/a.jpg", reply(200, PICTURE, etag='"1"', last_modified="Sun, 06 Nov 1994 08:49:37 GMT"))
    async with asking(host) as requests:
        answer = await requests.ask(at(host), None)
    assert (answer.data, answer.validators) == (PICTURE, Validators('"1"', "Sun, 06 Nov 1994 08:49:37 GMT"))
    headers = host.requests[0].headers
    assert headers["user-agent"].startswith("framematch/")
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers


async def test_a_known_version_is_not_sent_again(host: ScriptedHost) -> None:
    host.give("/a.jpg", reply(304))
    async with asking(host) as requests:
        answer = await requests.ask(at(host), Validators('"1"', "Sun, 06 Nov 1994 08:49:37 GMT"))
    assert answer.data is None
    headers = host.requests[0].headers
    assert (headers["if-none-match"], headers["if-modified-since"]) == ('"1"', "Sun, 06 Nov 1994 08:49:37 GMT")


async def test_redirects_are_followed_a_few_times(host: ScriptedHost) -> None:
    host.give("/0", reply(301, location="/1"))
    host.give("/1", reply(302, location=str(at(host, "/2"))))
    host.give("/2", reply(307, location="a.jpg"))
    host.give("/a.jpg", reply(200, PICTURE))
    async with asking(host) as requests:
        assert (await requests.ask(at(host, "/0"), None)).data == PICTURE
        host.give("/2", reply(308, location="/3"))
        host.give("/3", reply(303, location="/a.jpg"))
        assert (await failure_of(requests, at(host, "/0"))).reason == "is redirected more than 3 times"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/iam", "allow it with --allow-host 169.254.169.254,"),
        ("http://localhost/secret", "allow it with --allow-host localhost,"),
        ("//127.0.0.1/secret", "allow it with --allow-host 127.0.0.1,"),
        ("http://127.1/secret", "has a number for a host"),
        ("http://2130706433/secret", "has a number for a host"),
        ("http://[::ffff:127.0.0.1]/secret", "allow it with --allow-host [::ffff:127.0.0.1],"),
        ("http://user:pass@127.0.0.1/secret", "has a user name or a password"),
        ("file:///etc/passwd", "is redirected to no address"),
        ("ftp://127.0.0.1/secret", "neither http nor https"),
        ("https://[x/", "could not be downloaded: ValueError"),
        ("", "is redirected to no address"),
    ],
)
async def test_a_redirect_leads_nowhere_else_than_allowed(host: ScriptedHost, location: str, reason: str) -> None:
    host.give("/a.jpg", reply(302, location=location))
    async with asking(host) as requests:
        failure = await failure_of(requests, at(host))
    assert reason in failure.reason
    assert host.asked == ["/a.jpg"]


async def test_with_any_public_host_a_redirect_to_a_private_one_is_refused(host: ScriptedHost) -> None:
    for location in ("http://169.254.169.254/", "http://intranet.example/", "http://[64:ff9b::7f00:1]/"):
        host.give("/a.jpg", reply(302, location=location))
        resolver = ScriptedResolver(intranet_example=[["10.0.0.1", "192.168.0.1"]])
        async with asking(host, resolver=resolver, any_public_host=True) as requests:
            assert (await failure_of(requests, at(host))).kind is ProblemKind.NOT_ALLOWED


async def test_a_name_that_leads_to_a_private_address_is_not_asked(host: ScriptedHost) -> None:
    resolver = ScriptedResolver(shop_example=[["127.0.0.1"]])
    async with asking(host, "shop.example", f"shop.example:{host.port}", resolver=resolver) as requests:
        allowed = AllowedHosts([f"shop.example:{host.port}"])
        async with open_requests(allowed, LIMITS, ByteBudget(1_000), resolver=resolver) as without_network:
            failure = await failure_of(without_network, at(host, name="shop.example"))
        assert failure.reason == "is not asked for: shop.example leads to no public address"
        assert (failure.kind, failure.retriable, host.asked) == (ProblemKind.NOT_ALLOWED, False, [])
        host.give("/a.jpg", reply(200, PICTURE))
        assert (await requests.ask(at(host, name="shop.example"), None)).data == PICTURE


async def test_of_a_name_with_public_and_private_addresses_only_the_permitted_are_asked(host: ScriptedHost) -> None:
    async with running_host(address="127.0.0.2") as other:
        host.give("/a.jpg", reply(200, PICTURE))
        resolver = ScriptedResolver(shop_example=[["127.0.0.2", "127.0.0.1"]])
        async with asking(host, f"shop.example:{host.port}", resolver=resolver) as requests:
            assert (await requests.ask(at(host, name="shop.example"), None)).data == PICTURE
        assert other.asked == []


async def test_a_name_that_becomes_private_between_two_questions_is_refused_then() -> None:
    resolver = CheckedResolver(AllowedHosts(["x.example"]), ScriptedResolver(x_example=[["8.8.8.8"], ["127.0.0.1"]]))
    assert [one["host"] for one in await resolver.resolve("x.example", 80)] == ["8.8.8.8"]
    with pytest.raises(PrivateAddressError):
        await resolver.resolve("x.example", 80)


async def test_a_picture_is_asked_for_at_the_very_address_that_was_checked(host: ScriptedHost) -> None:
    host.give("/a.jpg", reply(200, PICTURE))
    resolver = ScriptedResolver(shop_example=[["127.0.0.1"], ["127.0.0.9"]])
    async with asking(host, f"shop.example:{host.port}", resolver=resolver) as requests:
        assert (await requests.ask(at(host, name="shop.example"), None)).data == PICTURE
    assert resolver.asked == ["shop.example"]


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b"\xff" * 65_536)
        await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b"\xff")
        await writer.drain()
        await asyncio.sleep(0.01)


async def silence(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\xff")
    await writer.drain()
    await asyncio.Event().wait()


async def test_an_endless_body_ends_at_the_limit(host: ScriptedHost) -> None:
    host.give("/a.jpg", endless)
    async with asking(host, limits=replace(LIMITS, picture_bytes_max=2_000_000)) as requests:
        assert (await failure_of(requests, at(host))).reason == "has more than 2 MB"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(drip, "did not come within 0.3 s"), (silence, "has a host that was silent for 0.2 s")],
)
async def test_a_body_that_does_not_come_is_given_up(host: ScriptedHost, answer: object, reason: str) -> None:
    assert callable(answer)
    host.give("/a.jpg", answer)
    async with asking(host, limits=replace(LIMITS, request_s=0.3, silence_s=0.2)) as requests:
        failure = await failure_of(requests, at(host))
    assert (failure.reason, failure.retriable, failure.is_outage) == (reason, True, True)


async def test_a_body_that_says_it_is_too_large_is_not_read(host: ScriptedHost) -> None:
    host.give("/a.jpg", reply(200, b"", content_length="3000000000"))
    async with asking(host) as requests:
        assert (await failure_of(requests, at(host))).kind is ProblemKind.BAD_IMAGE


async def test_a_body_that_is_shorter_than_it_says_is_no_picture(host: ScriptedHost) -> None:
    host.give("/a.jpg", reply(200, PICTURE, content_length="1000"))
    async with asking(host) as requests:
        failure = await failure_of(requests, at(host))
    assert (failure.reason, failure.retriable) == ("was not sent to its end", True)


async def test_a_body_that_is_longer_than_it_says_is_no_picture(host: ScriptedHost) -> None:
    host.give("/a.jpg", reply(200, PICTURE + b"GET /evil", content_length=str(len(PICTURE))))
    async with asking(host) as requests:
        assert (await failure_of(requests, at(host))).reason == "has a host that does not answer as HTTP demands"


async def test_a_compressed_transfer_is_read_within_the_limit(host: ScriptedHost) -> None:
    host.give("/a.jpg", reply(200, gzip.compress(PICTURE), content_encoding="gzip"))
    host.give("/bomb", reply(200, gzip.compress(b"\0" * 50_000_000), content_encoding="gzip"))
    host.give("/cut", reply(200, gzip.compress(PICTURE)[:-8], content_encoding="gzip"))
    host.give("/lie", reply(200, PICTURE, content_encoding="gzip"))
    host.give("/br", reply(200, PICTURE, content_encoding="br"))
    async with asking(host) as requests:
        assert (await requests.ask(at(host), None)).data == PICTURE
        assert (await failure_of(requests, at(host, "/bomb"))).kind is ProblemKind.BAD_IMAGE
        assert (await failure_of(requests, at(host, "/cut"))).reason == "was not sent to its end"
        assert (await failure_of(requests, at(host, "/lie"))).reason.startswith("is damaged")
        assert "'br', which was not asked for" in (await failure_of(requests, at(host, "/br"))).reason


@pytest.mark.parametrize(
    ("status", "kind", "retriable", "is_outage"),
    [
        (404, ProblemKind.NO_IMAGE, False, False),
        (410, ProblemKind.NO_IMAGE, False, False),
        (403, ProblemKind.UNREACHABLE, False, True),
        (204, ProblemKind.UNREACHABLE, False, True),
        (304, ProblemKind.UNREACHABLE, False, True),
        (429, ProblemKind.UNREACHABLE, True, True),
        (503, ProblemKind.UNREACHABLE, True, True),
        (599, ProblemKind.UNREACHABLE, True, True),
    ],
)
async def test_a_status_says_whether_to_try_again_and_whether_the_picture_is_gone(
    host: ScriptedHost, status: int, kind: ProblemKind, *, retriable: bool, is_outage: bool
) -> None:
    host.give("/a.jpg", reply(status))
    async with asking(host) as requests:
        failure = await failure_of(requests, at(host))
    assert (failure.kind, failure.retriable, failure.is_outage) == (kind, retriable, is_outage)
    assert f"answers {status}" in failure.reason


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [("7", 7), ("Sun, 06 Nov 1994 08:49:37 GMT", 0), ("soon", 0), ("-5", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 10**9)],
)
async def test_a_server_says_how_long_to_wait(host: ScriptedHost, text: str, wait_s: int) -> None:
    host.give("/a.jpg", reply(429, retry_after=text))
    async with asking(host) as requests:
        assert min((await failure_of(requests, at(host))).retry_after_s, 10**9) == wait_s


async def test_what_is_no_http_is_a_failure(host: ScriptedHost) -> None:
    host.give("/a.jpg", b"SSH-2.0-OpenSSH_9.6\r\n")
    host.give("/long", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
    host.give("/empty", reply(200))
    host.give("/nothing", b"")
    async with asking(host) as requests:
        for path in ("/a.jpg", "/long", "/empty", "/nothing"):
            assert (await failure_of(requests, at(host, path))).kind is ProblemKind.UNREACHABLE


async def test_a_host_that_is_not_there_is_a_failure_that_may_pass(host: ScriptedHost) -> None:
    resolver = ScriptedResolver()
    async with running_host() as dead:
        pass
    async with asking(dead, f"shop.example:{dead.port}", resolver=resolver) as requests:
        failure = await failure_of(requests, at(dead))
        assert failure.reason.startswith("has a host that cannot be reached: ")
        assert (failure.retriable, failure.host_answers) == (True, False)
        unknown = await failure_of(requests, at(dead, name="shop.example"))
        assert unknown.reason == "has a host whose name is not known: shop.example"
    assert host.asked == []


async def test_a_certificate_is_checked_for_the_name_of_the_host() -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("shop.example").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    names = ScriptedResolver(shop_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    async with running_host(tls) as host:
        host.give("/a.jpg", reply(200, PICTURE))
        patterns = [f"{name}:{host.port}" for name in ("shop.example", "other.example")]
        async with asking(host, *patterns, resolver=names, ssl_context=trusting) as requests:
            right, wrong = (URL(f"https://{name}:{host.port}/a.jpg") for name in ("shop.example", "other.example"))
            assert (await requests.ask(right, None)).data == PICTURE
            failure = await failure_of(requests, wrong)
        assert failure.reason.startswith("has a host without a valid certificate: Hostname mismatch")
        assert not failure.retriable
        async with asking(host, *patterns, resolver=names) as distrusting:
            assert "without a valid certificate" in (await failure_of(distrusting, right)).reason


async def test_the_proxies_of_the_environment_are_not_used(host: ScriptedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_host() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        host.give("/a.jpg", reply(200, PICTURE))
        async with asking(host) as requests:
            assert (await requests.ask(at(host), None)).data == PICTURE
        assert proxy.asked == []


async def test_cookies_are_not_kept(host: ScriptedHost) -> None:
    host.give("/a.jpg", reply(200, PICTURE, set_cookie="session=1; Path=/"))
    async with asking(host) as requests:
        for _ in range(2):
            await requests.ask(at(host), None)
    assert ["cookie" in request.headers for request in host.requests] == [False, False]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("/020 HAVET Hotel plaża.JPG", "/020%20HAVET%20Hotel%20pla%C5%BCa.JPG"),
        ("/Kr%C3%A4uterstempel.jpg", "/Kr%C3%A4uterstempel.jpg"),
        ("/a,b.png?x=260&t=image/jpeg", "/a,b.png?x=260&t=image/jpeg"),
        ("/a%2Cb.png?sig=A%2BB%3D", "/a%2Cb.png?sig=A%2BB%3D"),
    ],
)
async def test_addresses_with_unusual_characters_are_asked_for(host: ScriptedHost, name: str, asked: str) -> None:
    host.give(asked, reply(200, PICTURE))
    url = parse_address(f"http://127.0.0.1:{host.port}{name}")
    assert url is not None
    async with asking(host) as requests:
        assert (await requests.ask(url, None)).data == PICTURE
    assert host.asked == [asked]


async def test_pictures_that_are_held_in_memory_make_others_wait(host: ScriptedHost) -> None:
    names: Sequence[str] = [f"/{number}" for number in range(6)]
    for name in names:
        host.give(name, reply(200, b"x" * 1_000))
    budget = ByteBudget(2_500)
    allowed = AllowedHosts([f"127.0.0.1:{host.port}"])
    async with open_requests(allowed, LIMITS, budget) as requests, asyncio.TaskGroup() as tasks:
        asked = {tasks.create_task(requests.ask(at(host, name), None)) for name in names}
        while asked:
            finished, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert len(finished) <= 2
            await budget.give_back(1_000 * len(finished))
