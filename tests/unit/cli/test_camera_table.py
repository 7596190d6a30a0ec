"""The table of cameras shows their latest statuses."""

from dataclasses import replace
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from framematch.cli.camera_table import CameraTable, summary
from framematch.cli.text import duration
from framematch.core.events import CameraStatus, RefusedSettings, encode
from framematch.core.timestamps import to_rfc3339

NOW_US = 1_767_225_600_000_000


def status(camera: str = "till-1", *, sent_s_ago: float = 2.0, **changes: object) -> CameraStatus:
    plain = CameraStatus(
        schema="camera-status.v1",
        camera=camera,
        state="online",
        reason=None,
        at=to_rfc3339(NOW_US - int(sent_s_ago * 1e6)),
        source_fps=25.0,
        sent_fps=4.5,
        drops={},
        last_frame_age_s=0.1,
        reconnects=0,
        since=to_rfc3339(NOW_US - 300_000_000),
        interval_s=10.0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # names are those of CameraStatus


def table_of(*statuses: CameraStatus, camera: str | None = None) -> CameraTable:
    table = CameraTable(10.0, camera)
    for one in statuses:
        table.update(one.camera.encode(), encode(one))
    return table


def text_of(table: CameraTable) -> str:
    shown = StringIO()
    Console(file=shown, width=200).print(table.view(NOW_US))
    return shown.getvalue()


def line_of(table: CameraTable, camera: str = "till-1") -> list[str]:
    [line] = [
        line.split() for line in text_of(table).splitlines() if line.startswith(camera) and " is decoded " not in line
    ]
    return line


def test_an_online_camera_is_shown_with_its_rates_and_ages() -> None:
    line = line_of(table_of(status(lag_s=0.2, reconnects=3, drops={"overrun": 7})))
    assert " ".join(line) == "till-1 online 5 min 25.0 4.5 2.1 s 0.2 s 3 - 2.0 s - overrun 7"


def test_spooled_frames_are_shown_with_their_size() -> None:
    table = table_of(status(state="degraded", reason="12 frames wait", spooled_frames=12, spooled_bytes=480_000))
    assert "12 (0.5 MB)" in text_of(table)
    assert "12 frames wait" in text_of(table)


def test_the_latest_status_of_a_camera_counts() -> None:
    table = table_of(status(), status(state="offline", reason="no frame for 5 s"))
    assert line_of(table)[1] == "offline"
    assert "no frame for 5 s" in text_of(table)


def test_cameras_are_sorted_by_severity_and_then_by_id() -> None:
    table = table_of(
        status("b-online"),
        status("a-online"),
        status("degraded", state="degraded"),
        status("offline", state="offline"),
        status("stale", sent_s_ago=31),
    )
    names = [entry.status.camera for entry in table.entries(NOW_US)]
    assert names == ["offline", "stale", "degraded", "a-online", "b-online"]
    assert summary(table.counts(NOW_US)) == "1 offline, 1 stale, 1 degraded, 2 online"


@pytest.mark.parametrize(
    ("sent_s_ago", "interval_s", "shown"),
    [(30, 10.0, "online"), (31, 10.0, "stale"), (31, 60.0, "online"), (30, None, "online"), (31, None, "stale")],
)
def test_an_edge_that_is_silent_for_three_of_its_intervals_is_stale(
    sent_s_ago: float, interval_s: float | None, shown: str
) -> None:
    assert line_of(table_of(status(sent_s_ago=sent_s_ago, interval_s=interval_s)))[1] == shown


def test_a_stale_camera_shows_no_rates_and_its_last_state() -> None:
    table = table_of(status(sent_s_ago=600, state="offline", reason="stopped"))
    assert "25.0" not in text_of(table)
    assert "the edge is silent and may have died; the camera was offline: stopped" in text_of(table)


def test_an_age_is_never_negative() -> None:
    assert "0.0 s" in text_of(table_of(status(sent_s_ago=-60)))


def test_a_tombstone_removes_a_camera() -> None:
    table = table_of(status("till-1"), status("till-2"))
    assert table.update(b"till-1", None) is None
    assert table.update(b"till-9", None) is None
    assert [entry.status.camera for entry in table.entries(NOW_US)] == ["till-2"]


def test_one_camera_can_be_selected() -> None:
    table = table_of(status("till-1"), status("till-2"), camera="till-2")
    assert [entry.status.camera for entry in table.entries(NOW_US)] == ["till-2"]


def test_refused_settings_are_named_once() -> None:
    why = "edge.fps: input should be greater than 0"
    text = text_of(table_of(status("till-1", settings_error=why), status("till-2", settings_error=why)))
    assert text.count(why) == 1


def test_without_cameras_it_says_so() -> None:
    assert "There is no status of any camera yet" in text_of(CameraTable(10.0))
    assert "There is no status of camera till-7 yet" in text_of(CameraTable(10.0, "till-7"))


def test_a_status_of_the_first_edges_is_shown() -> None:
    first = msgspec.json.decode(encode(status()))
    for later in ("since", "interval_s", "lag_s", "spooled_frames", "spooled_bytes"):
        del first[later]
    table = CameraTable(10.0)
    table.update(b"till-1", msgspec.json.encode(first))
    assert line_of(table)[:3] == ["till-1", "online", "-"]


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", encode(status(at="yesterday")), encode(status(since="soon"))])
def test_an_invalid_status_is_refused_and_changes_nothing(value: bytes) -> None:
    table = table_of(status())
    with pytest.raises(msgspec.DecodeError):
        table.update(b"till-1", value)
    assert line_of(table)[1] == "online"


def test_a_shown_reason_contains_neither_control_characters_nor_markup() -> None:
    text = text_of(table_of(status(state="offline", reason="\x1b[2J[bold]gone[/bold]")))
    assert "?[2J[bold]gone[/bold]" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (45, "45 s"),
        (119, "119 s"),
        (600, "10 min"),
        (10_800, "3 h"),
        (864_000, "10 d"),
    ],
)
def test_durations_are_rounded_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_refused_settings_are_shown_beside_what_is_wrong_with_the_camera_itself() -> None:
    refused = RefusedSettings(4, "fps: should be greater than 0", "See docs/settings.md")
    table = table_of(
        status("runs", refused=refused, generation=3),
        status("degraded", state="degraded", reason="it lags", refused=refused, generation=3),
        status("never", state="offline", reason=f"refused: {refused.reason}", refused=refused),
    )
    shown = text_of(table)
    assert "it lags; newer settings refused: fps: should be greater than 0" in shown
    assert shown.count("newer settings refused") == 2
    assert shown.count("refused: fps") == 3


def test_a_camera_says_what_decodes_its_video_and_why_not_what_was_wished() -> None:
    table = table_of(status(), status("till-2", decoder="software", decoder_reason="cuda: gave no picture"))
    assert line_of(table, "till-2")[-2:] == ["software", "-"]
    assert "till-2 is decoded in software: cuda: gave no picture" in text_of(table)
    assert "till-1 is decoded" not in text_of(table)
