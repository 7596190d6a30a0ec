"""API keys as text: made, parsed, proved."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.api.access.keys import (
    ApiKey,
    digest_of,
    key_text,
    new_key_id,
    new_secret,
    parse_key,
    valid_cameras,
    valid_name,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OLD, NEW = new_secret(), new_secret()


def key(**changes: object) -> ApiKey:
    fields = {
        "id": "0123456789ab", "name": "till", "digest": digest_of(NEW), "scopes": frozenset({"match"}),
        "cameras": ("till-*",), "created_at": NOW,
    }  # fmt: skip
    return ApiKey(**{**fields, **changes})  # type: ignore[arg-type]  # fields of different types


def test_a_new_key_is_parsed_into_its_parts() -> None:
    key_id, secret = new_key_id(), new_secret()
    assert parse_key(key_text(key_id, secret)) == (key_id, secret)


def test_secrets_are_letters_and_digits_and_differ() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(secret) == 43 and secret.isascii() and secret.isalnum() for secret in secrets)


@given(st.text())
def test_any_other_text_is_no_key(text: str) -> None:
    assert parse_key(text) is None


@pytest.mark.parametrize("change", [lambda key: key + "x", lambda key: key[:-1], lambda key: key.upper(), str.strip])
def test_a_key_that_is_not_whole_is_no_key(change: object) -> None:
    text = " " + key_text("0123456789ab", NEW)
    assert callable(change)
    found = parse_key(change(text))
    assert (found is None) is (change is not str.strip)


def test_what_is_stored_is_the_sha_256_of_the_secret() -> None:
    assert digest_of("secret") == hashlib.sha256(b"secret").digest()


def test_a_key_is_proved_by_its_secret_alone() -> None:
    assert key().proves(NEW, NOW)
    assert not key().proves(OLD, NOW)
    assert not key().proves("", NOW)


def test_after_a_rotation_the_old_secret_is_valid_for_the_time_given() -> None:
    rotated = key(previous_digest=digest_of(OLD), previous_until=NOW + timedelta(hours=1))
    assert rotated.proves(OLD, NOW)
    assert rotated.proves(NEW, NOW)
    assert not rotated.proves(OLD, NOW + timedelta(hours=1))


def test_an_old_secret_without_a_time_is_not_valid() -> None:
    assert not key(previous_digest=digest_of(OLD)).proves(OLD, NOW)


def test_a_key_expires_at_its_time() -> None:
    assert not key().is_expired(NOW + timedelta(days=36_500))
    assert key(expires_at=NOW).is_expired(NOW)
    assert not key(expires_at=NOW).is_expired(NOW - timedelta(seconds=1))


@pytest.mark.parametrize("name", ["", " till", "till ", "a\nb", "\x1b[31m", "x" * 101])
def test_a_name_that_would_spoil_a_list_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name has 1 to 100"):
        valid_name(name)


@pytest.mark.parametrize("glob", ["", "till 1", "till/1", "a" * 65, "till-1\n", "$where", "{a}"])
def test_a_glob_that_matches_no_camera_is_refused(glob: str) -> None:
    with pytest.raises(ValueError, match="camera"):
        valid_cameras([glob])


def test_globs_are_kept_in_their_order_and_once() -> None:
    assert valid_cameras(["till-*", "door", "till-*"]) == ("till-*", "door")
