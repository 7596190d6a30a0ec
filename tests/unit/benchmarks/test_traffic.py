"""What is counted of a load: frames without an event, and events that came twice."""

from dataclasses import replace

from benchmarks.consumer.traffic import Traffic
from tests.sample_events import match_event


def test_a_frame_without_an_event_is_lost_and_an_event_that_comes_again_is_a_repeat() -> None:
    event = match_event()
    other = replace(event, id=f"{event.id}-other")
    traffic = Traffic(frames={event.frame.id, "missing"}, events=[event, other, event])
    assert (traffic.lost, traffic.repeated) == (1, 1)
