"""The picture that is kept is the event's region of the event's frame."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simplejpeg

from framematch.core.errors import PictureError
from framematch.core.events import MatchEvent
from framematch.core.frames import Frame, frame_headers
from framematch.review.crop import crop_of
from tests.sample_events import AT_US, match_event

EVENT = match_event()
FRAME = Frame("till-1", AT_US, 0, grabbed_at_us=AT_US)


class FakeRecord:
    """A record of the topic of frames: half black, half white."""

    def __init__(self, frame: Frame = FRAME, value: bytes | None = None) -> None:
        pixels = np.zeros((40, 60, 3), np.uint8)
        pixels[:, 30:] = 255
        self.key, self.headers = frame.camera.encode(), frame_headers(frame)
        self.value = simplejpeg.encode_jpeg(pixels) if value is None else value


def crop(event: MatchEvent, record: Any) -> Any:
    return crop_of(event, record, max_pixels=10_000)


def test_a_region_is_cut_out_and_encoded_again() -> None:
    found = crop(replace(EVENT, region=(32, 4, 20, 10)), FakeRecord())
    pixels = simplejpeg.decode_jpeg(found.jpeg)
    assert pixels.shape == (10, 20, 3)
    assert pixels.min() > 200


def test_a_whole_picture_is_kept_byte_for_byte() -> None:
    record = FakeRecord()
    assert crop(replace(EVENT, region=(0, 0, 60, 40)), record).jpeg == record.value


def test_the_record_of_another_frame_is_not_mistaken_for_it() -> None:
    assert crop(EVENT, FakeRecord(replace(FRAME, sequence=1))) is None


def test_what_is_no_frame_gives_nothing() -> None:
    record = FakeRecord()
    record.headers = []
    assert crop(EVENT, record) is None


@pytest.mark.parametrize(("event", "value"), [(replace(EVENT, region=(70, 0, 10, 10)), None), (EVENT, b"no picture")])
def test_a_picture_that_cannot_be_cut_is_an_error(event: MatchEvent, value: bytes | None) -> None:
    with pytest.raises(PictureError):
        crop(event, FakeRecord(value=value))
