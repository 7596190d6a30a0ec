"""Partitions, consumers, traffic and disk of a site."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.cli.topic_plan import (
    CAMERAS_PER_PARTITION,
    FRAME_OVERHEAD_BYTES,
    MIN_PARTITIONS,
    SEGMENT_BYTES,
    UTILISATION_MAX,
    Site,
    busiest_cameras,
    plan_site,
)
from framematch.core.errors import UsageError

sites = st.builds(
    Site,
    cameras=st.integers(1, 3_000),
    fps=st.floats(0.1, 10),
    frame_bytes=st.floats(1_000, 1_000_000),
    consumer_fps=st.floats(100, 2_000),
    brokers=st.integers(3, 30),
)


def test_two_hundred_cameras() -> None:
    plan = plan_site(Site(cameras=200, fps=5))
    assert (plan.frames_per_s, plan.consumers, plan.partitions) == (1_000, 12, 48)
    assert (plan.busiest_cameras, plan.busiest_frames_per_s) == (26, 130)


def test_two_cameras_need_one_consumer_and_get_the_minimum_of_partitions() -> None:
    plan = plan_site(Site(cameras=2, fps=5, brokers=1, replicas=1))
    assert (plan.consumers, plan.partitions) == (1, MIN_PARTITIONS)


@given(sites)
def test_no_consumer_is_busier_than_it_should_be(site: Site) -> None:
    try:
        plan = plan_site(site)
    except UsageError:
        return
    assert plan.busiest_frames_per_s <= UTILISATION_MAX * site.consumer_fps
    assert plan.consumers * UTILISATION_MAX * site.consumer_fps >= site.frames_per_s


@given(sites)
def test_partitions_can_be_shared_evenly_by_the_consumers_and_by_double_their_number(site: Site) -> None:
    try:
        plan = plan_site(site)
    except UsageError:
        return
    assert plan.partitions % (2 * plan.consumers) == 0
    assert plan.partitions >= max(MIN_PARTITIONS, site.brokers, site.cameras / CAMERAS_PER_PARTITION)


@pytest.mark.parametrize(("cameras", "consumers"), [(200, 12), (1_000, 27), (20, 3), (10, 10)])
def test_the_busiest_consumer_is_estimated_as_hashing_spreads_the_cameras(cameras: int, consumers: int) -> None:
    chance = random.Random(1)  # noqa: S311  # a fixed seed
    samples = [[0] * consumers for _ in range(300)]
    for loads in samples:
        for _ in range(cameras):
            loads[chance.randrange(consumers)] += 1
    seen = sum(max(loads) for loads in samples) / len(samples)
    assert seen <= busiest_cameras(cameras, consumers) <= 1.25 * seen + 1


def test_one_consumer_has_all_cameras() -> None:
    assert busiest_cameras(7, 1) == 7


def test_disk_is_rate_times_retention_and_a_segment_a_partition_for_each_replica() -> None:
    site = Site(cameras=200, fps=5, frame_bytes=50_000, frames_retention_s=600, brokers=3, replicas=2)
    frames = plan_site(site).topics[0]
    assert frames.bytes_per_s == 1_000 * (50_000 + FRAME_OVERHEAD_BYTES)
    assert frames.disk_bytes == 2 * (600 * frames.bytes_per_s + frames.partitions * SEGMENT_BYTES)


def test_a_topic_with_little_traffic_does_not_fill_its_segments() -> None:
    sightings = plan_site(Site(cameras=1, fps=1, events_retention_s=3_600)).topics[2]
    assert sightings.name == "sightings"
    assert sightings.disk_bytes < 3 * SEGMENT_BYTES


def test_brokers_carry_what_is_written_read_and_copied() -> None:
    site = Site(cameras=100, fps=5, brokers=3, replicas=3, subscribers=2)
    plan = plan_site(site)
    frames, matches, sightings, *_ = (topic.bytes_per_s for topic in plan.topics)
    assert plan.out_bytes_per_s == frames + 2 * (matches + sightings)
    assert plan.broker_in_bytes_per_s == pytest.approx(plan.in_bytes_per_s)
    assert plan.broker_out_bytes_per_s * 3 == pytest.approx(plan.out_bytes_per_s + 2 * plan.in_bytes_per_s)


def test_a_camera_that_is_too_much_for_one_consumer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"1 cameras with 300 frames/s .* more than 160 frames/s"):
        plan_site(Site(cameras=1, fps=300))


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_invalid_values_are_refused(bad: float) -> None:
    with pytest.raises(UsageError, match="fps must be above 0"):
        Site(cameras=1, fps=bad)


def test_a_broker_holds_one_replica_at_most() -> None:
    with pytest.raises(UsageError, match="1 brokers cannot hold 3 replicas"):
        Site(cameras=1, fps=1, brokers=1, replicas=3)
