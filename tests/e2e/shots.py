"""Records for the frames topic, good ones and poison, and what must become of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import count, islice

from PIL import Image

from demo.dataset import DATA_DIR, load_photos
from framematch.core.events import MATCH_SCHEMA
from framematch.core.frames import Frame, Region, frame_headers
from framematch.core.ids import match_event_id
from framematch.core.timestamps import now_us
from tests.faulty_model import GIVES_NAN

_CAMERAS = 6
_WHOLE: Region = (0, 0, 320, 320)  # of every photo
# In turn: the whole picture, two regions, three regions of which one is cut at the edge.
_REGIONS: tuple[tuple[Region, ...], ...] = (
    (),
    ((0, 0, 160, 320), (160, 0, 160, 320)),
    ((0, 0, 160, 160), (160, 160, 160, 160), (80, 80, 200, 200)),
)
_START_OF_FRAME = b"\xff\xc0\x00\x11\x08"  # and height and width, two bytes each


@dataclass(frozen=True)
class Shot:
    """A record as a camera sends it: it becomes match events with these ids, or a dead letter of this stage."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    event_ids: tuple[str, ...] = ()
    stage: str = ""
    reason: str = ""

    def spoilt(self, reason: str, *, stage: str = "decode") -> "Shot":
        """The same record, of which nothing but a dead letter can come."""
        return replace(self, event_ids=(), stage=stage, reason=reason)


def photos() -> Iterator[Shot]:
    """Photos without end, from several cameras in turn."""
    pictures = [(DATA_DIR / photo.file).read_bytes() for photo in load_photos()]
    began_us = now_us()
    for number in count():
        regions = _REGIONS[number % len(_REGIONS)]
        frame = Frame(f"till-{number % _CAMERAS}", began_us + number, number // _CAMERAS, regions)
        ids = tuple(match_event_id(frame.id, region, MATCH_SCHEMA) for region in regions or (_WHOLE,))
        picture = pictures[number % len(pictures)]
        yield Shot(frame.camera.encode(), picture, tuple(frame_headers(frame)), ids)


def with_poison() -> Iterator[Shot]:
    """The same; between the first ones are records of every kind that is no usable frame."""
    return _between(photos(), _poison(photos()))


def with_a_picture_without_embedding() -> Iterator[Shot]:
    """The same; of some pictures between the first ones the faulty model makes NaN."""
    flat = BytesIO()
    Image.new("RGB", (64, 64), GIVES_NAN).save(flat, "JPEG", quality=95, subsampling=0)
    bad = (
        replace(shot, value=flat.getvalue(), headers=_with(shot, ce_regions=b"[]"))
        for shot in islice(photos(), _CAMERAS)
    )
    return _between(photos(), [shot.spoilt("invalid_embedding", stage="infer") for shot in bad])


def _poison(shots: Iterator[Shot]) -> list[Shot]:
    """One record of each kind."""
    cut, bomb, text, gone, typeless, bare, keyless, crowded, huge, outside = islice(shots, 10)
    box, many = b"[900,900,5,5]", b"[" + b",".join([b"[0,0,9,9]"] * 1_000) + b"]"
    return [
        replace(cut, value=_jpeg(cut)[:-100]).spoilt("truncated"),
        replace(bomb, value=_as_bomb(_jpeg(bomb))).spoilt("too_many_pixels"),
        replace(text, value=b"not a picture").spoilt("not_a_jpeg"),
        replace(gone, value=None).spoilt("not_a_jpeg"),
        replace(typeless, headers=_with(typeless, ce_type=b"another.type")).spoilt("headers"),
        replace(bare, headers=()).spoilt("headers"),
        replace(keyless, key=None).spoilt("headers"),
        replace(crowded, headers=_with(crowded, ce_regions=many)).spoilt("too_many_regions"),
        replace(huge, headers=_with(huge, ce_sequence=b"9" * 200_000)).spoilt("headers"),
        replace(outside, headers=_with(outside, ce_regions=b"[" + box + b"]")).spoilt("region"),
    ]


def _between(good: Iterator[Shot], bad: Iterable[Shot]) -> Iterator[Shot]:
    for one in bad:
        yield one
        yield from islice(good, 3)
    yield from good


def _with(shot: Shot, **headers: bytes) -> tuple[tuple[str, bytes], ...]:
    return tuple((dict(shot.headers) | headers).items())


def _jpeg(shot: Shot) -> bytes:
    return shot.value or b""


def _as_bomb(jpeg: bytes) -> bytes:
    """The same bytes, whose header promises a picture of 65,535 by 65,535."""
    place = jpeg.index(_START_OF_FRAME) + len(_START_OF_FRAME)
    return jpeg[:place] + b"\xff\xff\xff\xff" + jpeg[place + 4 :]
