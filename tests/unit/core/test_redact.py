"""Secrets are hidden in all their forms, and other text is unchanged."""

import json
import multiprocessing
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from framematch.core.redact import redact, redact_argument, redact_uncaught, redact_url, run_redacted

# The characters of a URL: no white space, nothing invisible. A canary marks the end.
PIECES = ["@", ":", "/", "://", "?", "&", "=", "#", "%40", "pw=", "?pw=", "&token=", "'", '"', "<", ",", ";", "\\", "a"]
VISIBLE = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Z", "C"]), max_size=30),
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
)
ANYTHING = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"GET /v1?q=fm_0123456789ab_{'a' * 43} 400", "GET /v1?q=fm_0123456789ab_*** 400"),
        ("Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "Bearer ***"),
        ("fm_ratio is 0.5, eyJ is no token", "fm_ratio is 0.5, eyJ is no token"),
        ("rtsp://user:p@10.0.0.5/1,rtsp://user:p@10.0.0.6/1", "rtsp://***@10.0.0.5/1,rtsp://***@10.0.0.6/1"),
        ("a rtsp://u:p@h/1 and rtsp://h/2 failed", "a rtsp://***@h/1 and rtsp://h/2 failed"),
        ("rtsp://u:it's@h/1", "rtsp://***@h/1"),
        ("rtsp://u:p%40ss@h/1", "rtsp://***@h/1"),
        ("rtsp://u:p#a?ss@h/1", "rtsp://***@h/1"),
        ("rtsp://token@h/1", "rtsp://***@h/1"),
        ("http://h/x?password=p@ss", "http://***@"),
        ("rtsp://u:p?pw=ss@h/1", "rtsp://***@"),
        ("rtsp://u:p?pw=s&s@h/1", "rtsp://***@h/1"),
        ("7rtsp://u:p@h/1", "7rtsp://***@h/1"),
        ("till-1=admin:pass@10.0.0.5/1", "till-1=***@10.0.0.5/1"),
        ("?url=rtsp%3A%2F%2Fuser%3Apass%40h", "?url=rtsp%3A%2F%2F***%40h"),
        ("http://h/video.cgi?loginuse=a&loginpas=pass", "http://h/video.cgi?loginuse=a&loginpas=***"),
        ("rtsp://h/user=admin_password=pass_channel=1", "rtsp://h/user=admin_password=***"),
        ("https://h/x.m3u8?X-Amz-Signature=pass&part=1", "https://h/x.m3u8?X-Amz-Signature=***&part=1"),
    ],
)
def test_credentials_of_every_form_are_hidden(text: str, clean: str) -> None:
    assert redact_url(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://[::1]:8554/till-1", "rtsp://h/cam/realmonitor?channel=1&subtype=0", "till-1=@/run/secrets/till-1",
        "mongodb://h/db?authSource=admin", "monkey=1", "no frame for 5 s: till-1", "write to me@example.org",
    ],
)  # fmt: skip
def test_text_without_secrets_is_unchanged(text: str) -> None:
    assert redact_argument(text) == redact_url(text) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"photos/\xff\xe9.jpg", r"photos/\xff\xe9.jpg"),
        ("photos/\N{STRAWBERRY}\u00fc.jpg".encode(), "photos/\N{STRAWBERRY}\u00fc.jpg"),
        (b"rtsp://u:\xff@h/\x80", r"rtsp://***@h/\x80"),
    ],
)
def test_bytes_that_are_not_utf8_are_shown_so_that_any_encoder_takes_them(name: bytes, shown: str) -> None:
    argument = name.decode("utf-8", "surrogateescape")  # as Python has it
    assert redact_argument(argument) == redact_url(argument) == redact({"file": argument})["file"] == shown
    assert redact(name.decode("utf-8", "surrogateescape")).encode()


def test_half_a_character_is_shown_too() -> None:
    assert redact_url("a\ud83c.jpg") == r"a\ud83c.jpg"


@settings(max_examples=500)
@given(VISIBLE)
def test_a_password_is_hidden_in_every_rendered_form(password: str) -> None:
    secret = f"canary{password}canary"
    url = f"rtsp://user:{secret}@10.0.0.5/1"
    rendered = [
        url, f"open {url} failed", repr(url), json.dumps({"source": url}), f"'{url}'", f"till-1={url}", f"({url})",
        f"user:{secret}@10.0.0.5/1", f"http://h/x?user=a&password={secret.replace('&', '%26')}",
    ]  # fmt: skip
    assert [text for text in rendered if "canary" in redact_url(text)] == []


@given(ANYTHING)
def test_an_argument_may_contain_a_password_with_white_space(password: str) -> None:
    secret = f"canary{password}canary"
    assert "canary" not in redact_argument(f"till-1=rtsp://user:{secret}@10.0.0.5/1")
    assert "canary" not in redact_argument(f"till-1=http://h/x?password={secret.replace('&', '%26')}")


@given(VISIBLE)
def test_no_value_of_any_type_shows_its_credentials(password: str) -> None:
    url = f"rtsp://user:canary{password}canary@h"
    values = {
        "bytes": url.encode(), "error": OSError(url), "tuple": (url, 1), "object": SimpleNamespace(address=url),
        url: 1, "path": Path(url.replace("\0", "")), "secret": SecretStr(url),
    }  # fmt: skip
    assert "canary" not in str(redact(values))


def test_numbers_and_nothing_keep_their_types() -> None:
    assert redact({"token_count": 3, "ratio": 0.5, "ready": True, "reason": None}) == {
        "token_count": 3, "ratio": 0.5, "ready": True, "reason": None,
    }  # fmt: skip


def test_a_long_text_takes_linear_time() -> None:
    text = "a" * 200_000 + " @ = ://"
    assert redact_url(text) == text


def test_the_traceback_of_an_uncaught_error_shows_no_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module, hook in ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    redact_uncaught()

    def fail() -> None:
        raise OSError("cannot open rtsp://user:canary@10.0.0.5/1")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except OSError as error:
        sys.excepthook(OSError, error, error.__traceback__)
    said = capsys.readouterr().err
    assert said.count("OSError: cannot open rtsp://***@10.0.0.5/1") == 2
    assert "canary" not in said


def test_the_traceback_of_a_child_process_shows_no_credentials(capfd: pytest.CaptureFixture[str]) -> None:
    child = multiprocessing.get_context("spawn").Process(
        target=run_redacted, args=(open, "/nowhere/rtsp://user:canary@10.0.0.5/1")
    )
    child.start()
    child.join()
    said = capfd.readouterr().err
    assert child.exitcode == 1
    assert "FileNotFoundError" in said
    assert "canary" not in said
