"""No web address is asked for a picture that the user has not allowed, however it is written."""

from ipaddress import ip_address

import pytest
from yarl import URL

from framematch.catalog.importing.pictures.web.allowed_hosts import (
    AllowedHosts,
    HostPattern,
    host_pattern,
    parse_address,
)
from framematch.catalog.importing.pictures.web.public_addresses import is_public, unwrapped
from framematch.core.errors import UsageError


def refusal(text: str, allowed: AllowedHosts) -> str | None:
    url = parse_address(text)
    return "is no URL" if url is None else allowed.refusal(url)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "192.0.2.1",
        "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
        "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:1:2:3:4:5:6", "2001:db8::1",
        "100::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_global_unicast_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_a_public_address_is_public_also_inside_of_another(text: str) -> None:
    assert is_public(ip_address(text))


def test_the_address_inside_of_another_is_found() -> None:
    for text in ("::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"):
        assert str(unwrapped(ip_address(text))) == "8.8.8.8"


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("https://cdn.shop.example/a.jpg", ["cdn.shop.example"]),
        ("http://CDN.Shop.Example./a.jpg", ["cdn.shop.example"]),
        ("https://cdn.shop.example/a.jpg", ["*.shop.example"]),
        ("https://cdn.shop.example:8443/a.jpg", ["cdn.shop.example:8443"]),
        ("https://müller.example/a.jpg", ["müller.example"]),
        ("https://xn--mller-kva.example/a.jpg", ["*.example", "müller.example"]),
        ("http://10.1.2.3/a.jpg", ["10.0.0.0/8"]),
        ("http://127.0.0.1:8080/a.jpg", ["127.0.0.1:8080"]),
        ("http://[::1]:8080/a.jpg", ["[::1]:8080"]),
        ("http://[fd00::1]/a.jpg", ["fd00::/8"]),
        ("http://[::ffff:10.1.2.3]/a.jpg", ["10.0.0.0/8"]),
        ("http://8.8.8.8/a.jpg", ["0.0.0.0/0"]),
    ],
)
def test_an_address_that_a_pattern_names_is_allowed(text: str, patterns: list[str]) -> None:
    assert refusal(text, AllowedHosts(patterns)) is None


@pytest.mark.parametrize(
    ("text", "patterns", "reason"),
    [
        ("https://shop.example/a.jpg", [], "allow it with --allow-host shop.example, or give a folder with --images"),
        ("https://shop.example/a.jpg", ["*.shop.example"], "allow it with --allow-host shop.example,"),
        ("https://badshop.example/a.jpg", ["shop.example"], "allow it with --allow-host badshop.example,"),
        ("https://shop.example:8443/a.jpg", ["shop.example"], "allow it with --allow-host shop.example:8443,"),
        ("https://shop.example/a.jpg", ["shop.example:8443"], "allow it with --allow-host shop.example,"),
        ("http://[::1]:81/a.jpg", ["[::1]"], "allow it with --allow-host [::1]:81,"),
        ("http://127.0.0.1/a.jpg", ["0.0.0.0/0"], "is no public address; allow it with --allow-host 127.0.0.1"),
        ("http://[::ffff:127.0.0.1]/a.jpg", ["::/0"], "allow it with --allow-host [::ffff:127.0.0.1],"),
        ("http://127.1/a.jpg", ["127.1", "127.0.0.0/8"], "has a number for a host"),
        ("http://2130706433/a.jpg", ["127.0.0.0/8"], "has a number for a host"),
        ("http://0x7f.0x1/a.jpg", ["127.0.0.0/8"], "has a number for a host"),
        ("https://user@shop.example/a.jpg", ["shop.example"], "has a user name or a password"),
        ("https://:pw@shop.example/a.jpg", ["shop.example"], "has a user name or a password"),
        ("ftp://shop.example/a.jpg", ["shop.example"], "neither http nor https"),
        ("file:///etc/passwd", ["shop.example"], "is no URL"),
        ("gopher://127.0.0.1:6379/_x", ["127.0.0.1"], "neither http nor https"),
        ("https:///a.jpg", ["shop.example"], "is no URL"),
        ("https://[x/a.jpg", ["shop.example"], "is no URL"),
        ("https://shop.example/" + "a" * 8_000, ["shop.example"], "is no URL"),
    ],
)
def test_an_address_that_no_pattern_names_is_refused(text: str, patterns: list[str], reason: str) -> None:
    assert reason in (refusal(text, AllowedHosts(patterns)) or "")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("https://shop.example/a.jpg", True),
        ("http://8.8.8.8/a.jpg", True),
        ("https://shop.example:8443/a.jpg", False),
        ("http://127.0.0.1/a.jpg", False),
        ("http://[::ffff:127.0.0.1]/a.jpg", False),
        ("http://[64:ff9b::a9fe:a9fe]/a.jpg", False),
        ("http://169.254.169.254/latest/meta-data/", False),
        ("http://①②⑦.0.0.1/a.jpg", False),
        ("http://127.1/a.jpg", False),
        ("http://2130706433/a.jpg", False),
    ],
)
def test_any_public_host_means_public_addresses_on_the_default_ports(text: str, *, allowed: bool) -> None:
    assert (refusal(text, AllowedHosts(any_public_host=True)) is None) == allowed


@pytest.mark.parametrize(
    ("patterns", "host", "address", "permitted"),
    [
        (["shop.example:81", "10.0.0.0/8"], "shop.example", "10.0.0.1", False),
        (["shop.example", "10.0.0.0/8", "*"], "shop.example", "10.0.0.1", True),
        (["shop.example", "10.0.0.1:81"], "shop.example", "10.0.0.1", False),
        (["10.0.0.1"], "10.0.0.1", "10.0.0.1", True),
        (["10.0.0.1:81"], "10.0.0.1", "10.0.0.1", False),
        ([], "shop.example", "8.8.8.8", True),
        (["shop.example"], "shop.example", "10.0.0.1", False),
        (["shop.example", "10.0.0.0/8"], "shop.example", "10.0.0.1", True),
        (["shop.example", "10.0.0.0/8"], "shop.example", "192.168.0.1", False),
        (["shop.example", "10.0.0.0/8"], "shop.example", "64:ff9b::a00:1", True),
        (["10.0.0.0/8"], "shop.example", "10.0.0.1", False),
        (["shop.example", "0.0.0.0/0"], "shop.example", "10.0.0.1", False),
        (["*", "10.0.0.0/8"], "shop.example", "10.0.0.1", False),
    ],
)
def test_a_name_leads_to_a_private_address_only_if_both_are_named(
    patterns: list[str], host: str, address: str, *, permitted: bool
) -> None:
    allowed = AllowedHosts([one for one in patterns if one != "*"], any_public_host="*" in patterns)
    assert allowed.permits(host, 80, ip_address(address)) == permitted


@pytest.mark.parametrize("text", ["", "https://shop.example/", "x.example:0", "x.example:99999", "a b", "*", ":80"])
def test_what_is_no_pattern_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is no host to download pictures from"):
        AllowedHosts([text])


def test_a_pattern_has_a_host_and_perhaps_a_port() -> None:
    assert host_pattern(" cdn.example:8080 ") == HostPattern("cdn.example", 8080)
    assert host_pattern("[::1]:80") == HostPattern("::1", 80)
    assert host_pattern("fd00::/8") == HostPattern("fd00::/8", None)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("https://x.example/a%2Cb.jpg?w=1%2C2&s=A%2Bb==", "https://x.example/a%2Cb.jpg?w=1%2C2&s=A%2Bb=="),
        ("https://x.example/Kräuter stempel.jpg", "https://x.example/Kr%C3%A4uter%20stempel.jpg"),
        ("https://x.example/100%.jpg", "https://x.example/100%25.jpg"),
        ("https://x.example/a.jpg#top", "https://x.example/a.jpg"),
    ],
)
def test_an_address_is_asked_as_it_is_or_in_the_form_that_http_needs(text: str, asked: str) -> None:
    assert str(parse_address(text)) == asked


def test_a_name_in_another_alphabet_is_the_host_that_is_asked() -> None:
    url = parse_address("http://①②⑦.0.0.1/a.jpg")
    assert url == URL("http://127.0.0.1/a.jpg")
