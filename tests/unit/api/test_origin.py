"""Which hosts are served, and which pages may change something where there are no keys."""

import pytest
from starlette.datastructures import Headers

from framematch.api.guard.origin import HostCheck, check_same_site
from framematch.api.problems import Problem


@pytest.mark.parametrize(
    ("hosts", "loopback_only", "host", "served"),
    [
        ([], False, "anything.example", True),
        ([], False, "", True),  # a probe with HTTP/1.0
        ([], True, "127.0.0.1:8080", True),
        ([], True, "localhost", True),
        ([], True, "LOCALHOST:80", True),
        ([], True, "[::1]:8080", True),
        ([], True, "evil.example:8080", False),
        ([], True, "localhost.evil.example", False),
        ([], True, "127.0.0.1.evil.example", False),
        ([], True, "/run/api", False),
        ([], True, "", False),
        (["api.example"], False, "api.example:443", True),
        (["api.example"], False, "API.example", True),
        (["api.example"], False, "api.example.evil", False),
        (["api.example"], True, "api.example", True),
        (["*.example"], False, "a.b.example", True),
        (["*.example"], False, "example", False),
        (["*.example"], False, "evilexample", False),
        (["[::1]"], False, "[::1]:8080", True),
        (["[::1]"], False, "[::1]", True),
    ],
)
def test_a_request_is_for_a_host_of_ours(hosts: list[str], loopback_only: bool, host: str, served: bool) -> None:
    check = HostCheck(hosts, loopback_only=loopback_only)
    headers = Headers({"host": host} if host else {})
    if served:
        check.check(headers)
        return
    with pytest.raises(Problem) as found:
        check.check(headers)
    assert (found.value.status, found.value.code) == (400, "wrong_host")


def test_two_hosts_are_none() -> None:
    headers = Headers(raw=[(b"host", b"a"), (b"host", b"b")])
    with pytest.raises(Problem, match="does not serve"):
        HostCheck([], loopback_only=False).check(headers)


@pytest.mark.parametrize(
    ("method", "headers", "allowed"),
    [
        ("POST", {}, True),  # a program
        ("POST", {"origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}, True),
        ("POST", {"sec-fetch-site": "none"}, True),
        ("POST", {"origin": "https://shop.example", "sec-fetch-site": "cross-site"}, True),
        ("POST", {"origin": "https://evil.example"}, False),
        ("POST", {"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, False),
        ("POST", {"origin": "null"}, False),
        ("POST", {"sec-fetch-site": "cross-site"}, False),
        ("POST", {"sec-fetch-site": "same-site"}, False),
        ("DELETE", {"origin": "http://localhost:9999"}, False),
        ("GET", {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, True),
    ],
)
def test_a_page_of_another_site_changes_nothing(method: str, headers: dict[str, str], allowed: bool) -> None:
    found = Headers({"host": "localhost:8080", **headers})
    if allowed:
        check_same_site(method, found, ["https://shop.example"])
        return
    with pytest.raises(Problem) as refused:
        check_same_site(method, found, ["https://shop.example"])
    assert (refused.value.status, refused.value.code) == (403, "cross_site")
