"""What is known of a camera: as it is wanted, as it is reported, and what follows from both."""

from dataclasses import replace
from typing import Any

from framematch.api.cameras.view import CameraView, edges_of, join
from framematch.core.camera_settings import WantedCamera, WantedSource, encode_wanted
from framematch.core.events import CameraStatus, RefusedSettings, encode
from framematch.core.timestamps import to_rfc3339

NOW_US = 1_767_225_600_000_000
WANTED = WantedCamera(
    "camera-settings.v1", "till-1", 7, to_rfc3339(NOW_US), "shop-1", WantedSource("rtsp://***@h/…", sealed="x"), {}
)
STATUS = CameraStatus(
    "camera-status.v1", "till-1", "online", None, to_rfc3339(NOW_US), 25.0, 5.0, {}, 0.1, 0, edge="shop-1", generation=7
)


def view(status: CameraStatus | None = STATUS, wanted: WantedCamera | None = WANTED) -> CameraView:
    return CameraView("till-1", wanted, status)


def reported(**changes: Any) -> CameraView:
    return view(replace(STATUS, **changes))


def test_a_change_has_arrived_when_the_edge_reports_its_generation() -> None:
    found = view()
    assert (found.observed_generation, found.refused, found.state(NOW_US)) == (7, None, ("online", None))
    assert reported(generation=6).observed_generation == 6


def test_a_refused_change_is_observed_and_says_why() -> None:
    refused = RefusedSettings(7, "fps: too small", "see the page")
    found = reported(generation=6, refused=refused)
    assert (found.observed_generation, found.refused) == (7, refused)


def test_a_refusal_of_an_older_generation_is_none_of_the_newest() -> None:
    found = reported(generation=5, refused=RefusedSettings(6, "fps: too small", "see the page"))
    assert (found.observed_generation, found.refused) == (6, None)


def test_a_camera_is_pending_until_the_edge_that_is_to_run_it_reports_it() -> None:
    assert view(None).state(NOW_US)[0] == "pending"
    assert reported(edge="shop-2").state(NOW_US)[0] == "pending"
    assert reported(edge=None).state(NOW_US)[0] == "online"  # an older edge


def test_a_silent_edge_makes_its_cameras_stale() -> None:
    found = reported(interval_s=10.0, reason="it lags")
    assert found.state(NOW_US + 30_000_000) == ("online", "it lags")
    state, reason = found.state(NOW_US + 31_000_000)
    assert (state, reason) == ("stale", "its edge is silent for 31 s; the camera was online: it lags")


def test_cameras_of_both_topics_are_joined_in_order() -> None:
    cameras = join(
        {"b": encode_wanted(replace(WANTED, camera="b")), "c": b"\xff"},
        {
            "a": encode(replace(STATUS, camera="a", generation=None)),
            "b": encode(replace(STATUS, camera="b")),
            "d": b"{",
        },
    )
    assert list(cameras) == ["a", "b", "c"]
    assert [one.managed for one in cameras.values()] == ["file", "topic", "topic"]
    assert edges_of(cameras.values()) == {"shop-1"}


def test_a_damaged_record_is_shown_as_what_it_is() -> None:
    [found] = join({"till-1": b"\xff"}, {}).values()
    assert found.refused is not None
    assert "damaged" in found.refused.reason
