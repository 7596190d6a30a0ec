"""Which hosts a list of patterns allows."""

import pytest

from framematch.core.host_patterns import host_allowed, is_host_pattern

PATTERNS = ("cam-1.shop", "*.cams.example", "10.0.0.0/24", "192.0.2.7", "fd00::/8")


@pytest.mark.parametrize(
    "host", ["cam-1.shop", "CAM-1.shop", "a.cams.example", "a.b.cams.example", "10.0.0.5", "192.0.2.7", "fd00::1"]
)
def test_a_host_that_a_pattern_fits_is_allowed(host: str) -> None:
    assert host_allowed(host, PATTERNS)


@pytest.mark.parametrize(
    "host",
    [
        "cam-2.shop", "cams.example", "evilcams.example", "cam-1.shop.evil", "10.0.1.5", "192.0.2.8", "fe80::1", "",
        "10.5", "167772165", "0x0a000005", "::ffff:10.0.0.5", "169.254.169.254",
    ],
)  # fmt: skip
def test_any_other_host_is_not_also_not_another_way_to_write_an_address(host: str) -> None:
    assert not host_allowed(host, PATTERNS)


def test_nothing_is_allowed_without_patterns() -> None:
    assert not host_allowed("10.0.0.5", ())


@pytest.mark.parametrize("text", PATTERNS)
def test_each_of_them_is_a_pattern(text: str) -> None:
    assert is_host_pattern(text)


@pytest.mark.parametrize("text", ["", "*", "a.*.b", "http://cam", "cam/1", "cam 1", "10.0.0.0/33", "user@cam"])
def test_what_could_allow_more_than_it_seems_is_no_pattern(text: str) -> None:
    assert not is_host_pattern(text)
