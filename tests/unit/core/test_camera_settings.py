"""The record of a wanted camera: what is read of it, and which sources and settings it may have."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.core.camera_settings import (
    SCHEMES,
    WantedCamera,
    WantedSource,
    addressed_edge,
    check_settings,
    check_url,
    decode_wanted,
    encode_wanted,
    masked,
    secret_name,
)
from framematch.core.errors import UsageError

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "golden" / "camera-settings.v1.json").read_text(encoding="utf-8")
)
CANARY = "hunter2-canary"


def encoded(**changes: object) -> bytes:
    return json.dumps({**GOLDEN, **changes}).encode()


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
sources = st.one_of(
    st.builds(WantedSource, st.text(max_size=40), sealed=st.text(max_size=40)),
    st.builds(WantedSource, st.text(max_size=40), secret=names),
)


@given(names, st.integers(1, 2**53 - 1), names, sources, st.dictionaries(st.text(max_size=10), st.integers()))
def test_a_record_decodes_to_what_was_encoded(
    camera: str, generation: int, edge: str, source: WantedSource, settings: dict[str, int]
) -> None:
    at = "2026-01-01T00:00:00.000000Z"
    wanted = WantedCamera("camera-settings.v1", camera, generation, at, edge, source, settings)
    assert decode_wanted(camera, encode_wanted(wanted)) == wanted


def test_fields_that_a_newer_version_adds_are_ignored() -> None:
    newer = encoded(added={"x": 1}, source={**GOLDEN["source"], "added": 1})
    assert decode_wanted("till-1", newer) == decode_wanted("till-1", encoded())


@pytest.mark.parametrize(
    "value",
    [
        b"", b"{", b"\xff", b"[" * 100_000, b"null", encoded(schema="camera-settings.v2"), encoded(camera="till-2"),
        encoded(camera="../x"), encoded(generation=0), encoded(generation=2**53), encoded(at="soon"),
        encoded(edge="a/b"), encoded(source={"shown": "x"}), encoded(settings=[]),
        encoded(source={"shown": "x", "sealed": "y", "secret": "z"}),
        encoded(source={"shown": "x", "secret": "../../etc/passwd"}), encoded(source={"shown": "x", "secret": ".x"}),
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_the_same_error_whatever_is_wrong(value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_wanted("till-1", value)


def test_the_edge_of_a_damaged_record_is_known_if_it_can_be_read() -> None:
    assert addressed_edge(encoded(settings=[])) == ("shop-1", 7)
    assert addressed_edge(b"\xff") == addressed_edge(b'{"edge": 3}') == (None, None)


@pytest.mark.parametrize("scheme", [*SCHEMES, "RTSP"])
def test_streams_on_a_host_are_allowed(scheme: str) -> None:
    assert check_url(f"{scheme}://user:x@Cam-1.shop:554/1?a=b").hostname == "cam-1.shop"


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "/dev/video0", "/etc/passwd", "photos/", "file:///etc/passwd", "udp://:5000", "rtp://h:1", "tcp://h:1",
        f"concat:{CANARY}", "rtsp:///1", "rtsp://h:x/1", "rtsp://h:99999/1", "rtsp://[::1/1", "rtsp://h/a b",
        "rtsp://h/\n", "rtsp://a%2eb/1", "rtsp://h%40evil/1", "rtsp://h\\@evil\\/1", "rtsp://\N{SNOWMAN}/1",
        f"rtsp://u:{CANARY}/x@h/1", f"ftp://u:{CANARY}@h/1", f"u:{CANARY}@h", "rtsp://h/" + "a" * 3_000, "@name",
        "rtsp://[fe80::1%25eth0]/1", "rtsp://-h/1", "rtsp://h./1",
    ],
)  # fmt: skip
def test_everything_else_is_refused_and_never_quoted(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_url(text)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://h", "rtsp://h"),
        ("rtsp://h/", "rtsp://h/"),
        (f"rtsp://user:{CANARY}@10.0.0.5:8554/{CANARY}?p={CANARY}", "rtsp://***@10.0.0.5:8554/…"),
        (f"http://h/?token={CANARY}", "http://h/…"),
        (f"rtsps://a@b:{CANARY}@h/1", "rtsps://***@h/…"),
        (f"rtsp://h/user={CANARY}", "rtsp://h/…"),
        ("rtsp://[fd00::1]:554/1", "rtsp://[fd00::1]:554/…"),
    ],
)
def test_a_masked_source_shows_scheme_host_and_port(url: str, shown: str) -> None:
    assert masked(check_url(url)).rstrip("/") == shown.rstrip("/")


@given(st.text(alphabet=st.characters(codec="ascii", exclude_characters="/?#[]%"), min_size=1).map(str.strip))
def test_no_password_is_in_the_masked_source(password: str) -> None:
    try:
        shown = masked(check_url(f"rtsp://user:{CANARY}{password}@10.0.0.5/{CANARY}"))
    except UsageError as error:
        shown = str(error)
    assert CANARY not in shown


def test_the_name_of_a_secret_cannot_leave_its_folder() -> None:
    assert secret_name("@till-1.url") == "till-1.url"
    assert secret_name("rtsp://h/@x") is None
    for text in ("@", "@/etc/passwd", "@..", "@../x", "@a/b", "@.hidden", "@a\0b", "@a\n", "@" + "a" * 200):
        with pytest.raises(UsageError, match="not a path"):
            secret_name(text)


def test_settings_of_a_camera_are_checked_and_no_value_is_quoted() -> None:
    assert check_settings({"fps": 2, "motion": True, "regions": "grid", "masks": []}) == ()
    [wrong] = check_settings({"fps": -1})
    assert (wrong.path, wrong.hint) == (("fps",), "See docs/settings.md for the allowed values")
    assert {one.path[0] for one in check_settings({"fps": "x", "max_side": 1})} == {"fps", "max_side"}
    [unknown] = check_settings({"fsp": CANARY})
    assert unknown.path == ("fsp",)
    assert CANARY not in str(unknown)


def test_the_source_is_not_among_the_settings() -> None:
    [wrong] = check_settings({"source": "/etc/passwd"})
    assert wrong.path == ("source",)
