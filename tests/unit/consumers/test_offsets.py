"""The offset tracker: in whatever order records are finished, no offset is committed early."""

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from consumers.delivery.offsets import OffsetTracker

P, Q = TopicPartition("t", 0), TopicPartition("t", 1)


def tracker_with(*offsets: int) -> OffsetTracker:
    tracker = OffsetTracker()
    for offset in offsets:
        tracker.start(P, offset)
    return tracker


def test_nothing_is_committable_before_a_record_is_finished() -> None:
    assert tracker_with(0, 1).committable() == {}


def test_a_record_finished_out_of_order_waits_for_those_before_it() -> None:
    tracker = tracker_with(5, 6, 7)
    tracker.finish(P, 6)
    assert tracker.committable() == {}
    tracker.finish(P, 5)
    assert tracker.committable() == {P: 7}


def test_partitions_do_not_wait_for_each_other() -> None:
    tracker = tracker_with(0, 1)
    tracker.start(Q, 9)
    tracker.finish(Q, 9)
    assert tracker.committable() == {Q: 10}


def test_gaps_between_offsets_block_nothing() -> None:
    tracker = tracker_with(3, 10)
    tracker.finish(P, 3)
    tracker.finish(P, 10)
    assert tracker.committable() == {P: 11}


def test_a_committed_offset_is_not_committable_again() -> None:
    tracker = tracker_with(0, 1)
    tracker.finish(P, 0)
    tracker.committed({P: 1})
    assert tracker.committable() == {}
    tracker.finish(P, 1)
    assert tracker.committable() == {P: 2}


def test_progress_during_a_commit_is_not_lost() -> None:
    tracker = tracker_with(0, 1)
    tracker.finish(P, 0)
    committing = tracker.committable()
    tracker.finish(P, 1)
    tracker.committed(committing)
    assert tracker.committable() == {P: 2}


def test_a_record_finished_late_commits_nothing_of_a_forgotten_partition() -> None:
    tracker = tracker_with(0, 1)
    tracker.finish(P, 0)
    tracker.forget([P, "unknown"])
    tracker.finish(P, 1)
    assert tracker.committable() == {}


def test_a_forgotten_partition_can_be_read_again_from_an_earlier_offset() -> None:
    tracker = tracker_with(8, 9)
    tracker.forget([P])
    tracker.start(P, 8)
    tracker.finish(P, 8)
    assert tracker.committable() == {P: 9}


def test_an_offset_that_does_not_rise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"offset 3 of .*partition=0.* after 4"):
        tracker_with(4, 3)


def test_offsets_without_a_record_behind_the_last_one_are_committable_once_it_is_finished() -> None:
    tracker = tracker_with(0, 1)
    tracker.reach(P, 4)
    tracker.finish(P, 0)
    assert tracker.committable() == {P: 1}
    tracker.finish(P, 1)
    assert tracker.committable() == {P: 4}
    tracker.committed({P: 4})
    tracker.reach(P, 4)
    assert tracker.committable() == {}
    tracker.reach(P, 5)
    assert tracker.committable() == {P: 5}


def test_where_a_partition_starts_need_not_be_committed() -> None:
    tracker = OffsetTracker()
    tracker.reach(P, 7)
    tracker.reach(P, 7)
    assert tracker.committable() == {}


def test_a_record_that_is_not_finished_holds_back_what_is_behind_it() -> None:
    tracker = tracker_with(3)
    for offset in (4, 5, 6):
        tracker.reach(P, offset)
    assert tracker.committable() == {}


@given(st.data())
def test_no_offset_is_committed_early_in_whatever_order_records_are_finished(data: st.DataObject) -> None:
    started = {
        partition: sorted(data.draw(st.sets(st.integers(0, 200), min_size=1, max_size=20), label=str(partition)))
        for partition in (P, Q)
    }
    tracker = OffsetTracker()
    for partition, offsets in started.items():
        for offset in offsets:
            tracker.start(partition, offset)
    everything = [(partition, offset) for partition, offsets in started.items() for offset in offsets]
    finished: set[tuple[TopicPartition, int]] = set()
    committed: dict[TopicPartition, int] = {}
    for partition, offset in data.draw(st.permutations(everything)):
        tracker.finish(partition, offset)
        finished.add((partition, offset))
        committed |= tracker.committable()
        for name, next_offset in committed.items():
            assert all((name, earlier) in finished for earlier in started[name] if earlier < next_offset)
        if data.draw(st.booleans()):
            tracker.committed(tracker.committable())
    assert committed == {partition: offsets[-1] + 1 for partition, offsets in started.items()}
