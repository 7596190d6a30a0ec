"""Sealed sources: who can open them, and who cannot."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from framematch.core.errors import SettingsError, UsageError
from framematch.core.sealing import SourceSeal
from framematch.core.settings_sources import load_settings

# The same in every process that collects the tests.
OLD, NEW = (base64.urlsafe_b64encode(one * 32).decode() for one in (b"a", b"b"))
URL = "rtsp://user:hunter2-canary@10.0.0.5/1"


def seal_with(keys: str) -> SourceSeal:
    return SourceSeal(SecretStr(keys))


@given(st.text(max_size=64), st.text(max_size=300))
def test_what_is_sealed_opens_for_its_camera(camera: str, url: str) -> None:
    seal = seal_with(OLD)
    assert seal.open(camera, seal.seal(camera, url)) == url


@given(st.data())
def test_a_sealed_source_with_one_character_changed_is_refused(data: st.DataObject) -> None:
    seal = seal_with(OLD)
    sealed = seal.seal("till-1", URL)
    at = data.draw(st.integers(0, len(sealed.rstrip("=")) - 2))  # the last one has bits without a meaning
    other = data.draw(st.sampled_from("ABCDabcd0123-_").filter(lambda one: one != sealed[at]))
    with pytest.raises(UsageError, match="sealed with another key, or is damaged"):
        seal.open("till-1", sealed[:at] + other + sealed[at + 1 :])


@pytest.mark.parametrize("damaged", ["", "x", "gAAAAA==", "\N{SNOWMAN}", "a" * 10_000])
def test_what_was_never_sealed_is_refused(damaged: str) -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        seal_with(OLD).open("till-1", damaged)


def test_a_source_cannot_be_given_to_another_camera() -> None:
    seal = seal_with(OLD)
    with pytest.raises(UsageError, match="for another camera"):
        seal.open("till-2", seal.seal("till-1", URL))


def test_a_wrong_key_opens_nothing_and_says_what_to_do_without_the_secret() -> None:
    with pytest.raises(UsageError) as caught:
        seal_with(NEW).open("till-1", seal_with(OLD).seal("till-1", URL))
    assert "the same cameras_key" in caught.value.hint
    assert "canary" not in str(caught.value)


def test_keys_are_rotated_without_a_moment_in_which_something_cannot_be_opened() -> None:
    before = seal_with(OLD).seal("till-1", URL)
    both = seal_with(f"{NEW}, {OLD}")
    assert both.open("till-1", before) == URL
    after = both.seal("till-1", URL)
    assert seal_with(NEW).open("till-1", after) == URL  # sealed with the first


def test_a_sealed_source_shows_nothing_of_it() -> None:
    sealed = seal_with(OLD).seal("till-1", URL)
    assert "canary" not in sealed
    assert sealed != seal_with(OLD).seal("till-1", URL)


@pytest.mark.parametrize("keys", ["hunter2-canary", f"{OLD},short", f"{OLD},", OLD[:-2], "\N{SNOWMAN}" * 44])
def test_a_setting_that_is_no_key_is_refused_without_being_shown(keys: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides={"cameras_key": keys})
    assert "a key is 32 bytes" in caught.value.message
    assert keys not in str(caught.value)
