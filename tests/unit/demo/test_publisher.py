"""The publisher's errors."""

import threading
from pathlib import Path

import pytest

from demo.dataset import load_photos
from demo.feed import render_feed
from demo.publisher import publish
from demo.schedule import FeedSchedule, Segment
from framematch.core.errors import UnavailableError, UsageError


def test_a_feed_that_is_no_video_is_a_usage_error(tmp_path: Path) -> None:
    text = tmp_path / "feed.mp4"
    text.write_text("not a video", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot read the feed"):
        publish(text, "rtsp://127.0.0.1:9/x", loop=False, stop=threading.Event())


def test_an_unavailable_server_is_named_without_its_password(
    tmp_path: Path, dead_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMEMATCH_CACHE_DIR", str(tmp_path))
    feed = render_feed(FeedSchedule(1, 15, 0.4, (Segment(1, 5, 1, load_photos()[0]),)))
    with pytest.raises(UnavailableError, match=r"cannot publish to .*: Connection refused") as caught:
        publish(feed, f"rtsp://till:hunter2@{dead_address}/x", loop=False, stop=threading.Event())
    assert "hunter2" not in str(caught.value)
    assert dead_address in str(caught.value)
