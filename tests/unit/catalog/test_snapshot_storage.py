"""The setting `snapshots.url`: what is refused before anything is stored."""

import sys
from typing import Any

import pytest

from framematch.catalog.snapshots.storage import open_storage
from framematch.core.errors import PrerequisiteError, SettingsError
from framematch.core.settings_sources import load_settings

NO_DATABASE: Any = None


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(PrerequisiteError, match=r"snapshots\.url needs another Python package for s3://.*") as caught:
        open_storage("s3://bucket/snapshots", NO_DATABASE)
    assert "pip install 'framematch[s3]'" in caught.value.hint


def test_an_unknown_storage_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match=r"snapshots\.url names no known storage: .*shelf") as caught:
        open_storage("shelf://top/left", NO_DATABASE)
    assert "s3://BUCKET/PREFIX" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "s3://viewer:canary@bucket/snapshots",
        "s3://bucket/snapshots?secret_access_key=canary",
        "sftp://viewer:canary@host/snapshots",
        "s3://bucket/snapshots#canary",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("FRAMEMATCH_SNAPSHOTS__URL", url)
    with pytest.raises(SettingsError, match=r"snapshots\.url: the URL has no user, password or parameters") as caught:
        load_settings()
    assert "canary" not in f"{caught.value}"
    assert "AWS_ACCESS_KEY_ID" in f"{caught.value}"


@pytest.mark.parametrize("url", ["/srv/snap@shots #1", "s3://bucket/snapshots", "file:///srv/snapshots"])
def test_a_url_without_a_secret_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("FRAMEMATCH_SNAPSHOTS__URL", url)
    assert load_settings().snapshots.url == url


def test_without_a_url_snapshots_are_in_mongodb() -> None:
    assert load_settings().snapshots.url is None
