"""What the edge's benchmark reads from the system, and how it makes figures of it."""

import os
import statistics
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.edge.__main__ import PARTS, measure
from benchmarks.edge.arrivals import Arrival
from benchmarks.edge.capture import Plan, Window, results
from benchmarks.edge.publish_side import CONFLUENT, make_frames
from benchmarks.edge.site import Site
from benchmarks.edge.videos import FULL_HD, Video, draw_video
from benchmarks.harness import Figure
from benchmarks.processes import ProcessTimes, family, parse_pss_mb, parse_stat, tree_cpu_s, tree_pss_mb
from benchmarks.results import Results, percentile
from framematch.core.errors import FramematchError
from framematch.core.frames import Frame
from framematch.core.settings import KafkaSettings
from stack.kafka import KafkaServer
from stack.mediamtx import MediaMtxServer

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PLAN = Plan(rounds=2, window_s=1.0, cameras=4)


def stat_line(name: str, parent: int, *ticks: int) -> str:
    between = " ".join(["0"] * 9)
    return f"7 ({name}) S {parent} {between} {' '.join(map(str, ticks))} 20 0 1 0"


def window(cores: float, source_fps: float, pss_mb: float = 100.0) -> Window:
    return Window(cores, source_fps, pss_mb)


@pytest.mark.parametrize("name", ["python", "a b", "x) S 1 (y"])
def test_cpu_time_is_that_of_user_system_and_children_whatever_the_process_is_called(name: str) -> None:
    assert parse_stat(stat_line(name, 3, 10, 20, 30, 40)) == ProcessTimes(3, 100 / TICKS_PER_S)


def test_memory_is_the_proportional_set_size() -> None:
    text = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:   9000 kB\nPss:   2000 kB\nPss_Anon:  1 kB\n"
    assert parse_pss_mb(text) == pytest.approx(2.048)


def test_a_process_without_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="no Pss"):
        parse_pss_mb("Rss: 1 kB\n")


def test_a_family_has_children_of_children_and_no_strangers() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 13: 10, 20: 1, 21: 20}
    assert family(10, parents) == [10, 11, 13, 12]


def test_this_very_process_has_used_time_and_memory() -> None:
    assert tree_cpu_s(os.getpid()) > 0
    assert tree_pss_mb(os.getpid()) > 1


def test_a_process_that_is_gone_has_no_figures() -> None:
    with pytest.raises(FramematchError, match="has ended"):
        tree_cpu_s(2**22 + 1)


@pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, value: int) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_so_many_per_cent_do_not_exceed_a_percentile_and_fewer_do_not_reach_it(
    values: list[float], percent: int
) -> None:
    found = percentile(values, percent)
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(statistics.StatisticsError):
        percentile([], 50)


def test_a_round_is_what_both_used_in_the_same_seconds() -> None:
    found = results([(window(0.12, 30), 0.1), (window(0.2, 30), 0.25)], [window(0.4, 120)] * 2, PLAN, FULL_HD)
    (comparison,) = found.comparisons
    assert [round(r.ratio, 2) for r in comparison.rounds] == [1.2, 0.8]
    assert found.figures["cameras_per_core"].median == pytest.approx(10)
    assert not found.missing


def test_memory_of_one_more_camera_is_a_slope() -> None:
    found = results([(window(0.1, 30, 110), 0.1)] * 2, [window(0.4, 120, 200)] * 2, PLAN, FULL_HD)
    assert found.figures["memory_per_camera_mb"].median == pytest.approx(30)


def test_an_edge_that_fell_behind_has_no_cpu_figures() -> None:
    found = results([(window(0.1, 30), 0.1), (window(0.1, 20), 0.1)], [window(0.4, 100)] * 2, PLAN, FULL_HD)
    assert not found.comparisons
    assert set(found.missing) == {"edge_cpu_vs_bare_capture", "cameras_per_core"}


@pytest.mark.parametrize(("grabbed_at_us", "latency_ms"), [(None, 5.0), (8_000, 2.0)])
def test_latency_is_from_the_grab_or_from_the_capture_where_no_grab_is_told(
    grabbed_at_us: int | None, latency_ms: float
) -> None:
    frame = Frame("till-1", 5_000, 0, grabbed_at_us=grabbed_at_us)
    assert Arrival("prefix", frame, at_s=0.0, at_us=10_000).latency_ms == latency_ms


def test_parts_keep_their_settings_apart() -> None:
    found = Results()
    found.merge("back", Results(settings={"rounds": 1}, figures={"a": Figure(1, 1, 1, "s")}))
    found.merge("spool", Results(settings={"rounds": 2}))
    assert found.settings == {"back": {"rounds": 1}, "spool": {"rounds": 2}}
    assert "a" in found.figures


def test_a_part_that_fails_is_missing_and_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_site: Site, _quick: bool, _rounds: int) -> Results:
        raise FramematchError("no camera")

    monkeypatch.setitem(PARTS, "back", fail)
    found = Results()
    site = Site(KafkaServer(tmp_path / "kafka"), MediaMtxServer(tmp_path / "rtsp"), tmp_path)
    measure("back", site, found, quick=True, rounds=5)
    assert found.missing == {"back": "no camera"}
    assert "back failed: no camera" in capsys.readouterr().err


def test_something_moves_in_every_picture_of_a_video() -> None:
    pictures = [picture.astype(int) for picture in draw_video(Video(64, 48, fps=8, seconds=2, kbit_per_s=100))]
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 16
    assert all(np.abs(after - before).mean() > 10 for before, after in pairwise(pictures))


def test_frames_carry_the_pictures_in_turn(tmp_path: Path) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), np.full((8, 8, 3), 99 * number, np.uint8))
    frames = make_frames(KafkaSettings(bootstrap_servers="127.0.0.1:1"), tmp_path, frames=4, cameras=2)
    assert [outgoing.jpeg for outgoing in frames] == [p.read_bytes() for p in sorted(tmp_path.iterdir())] * 2
    assert len({outgoing.frame.id for outgoing in frames}) == 4


def test_bare_producers_promise_what_the_edge_promises() -> None:
    assert all(options["acks"] == "all" and options["enable.idempotence"] for options in CONFLUENT.values())
