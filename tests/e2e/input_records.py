"""Records for the frames topic, valid ones and poison, each with its expected output."""

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
_WHOLE: Region = (0, 0, 320, 320)  # every photo has this size
# In turn: the whole picture, two regions, three regions of which one is cut at the edge.
_REGIONS: tuple[tuple[Region, ...], ...] = (
    (),
    ((0, 0, 160, 320), (160, 0, 160, 320)),
    ((0, 0, 160, 160), (160, 160, 160, 160), (80, 80, 200, 200)),
)
_START_OF_FRAME = b"\xff\xc0\x00\x11\x08"  # followed by height and width, two bytes each


@dataclass(frozen=True)
class InputRecord:
    """A record for the frames topic and its expected output: match events with these ids, or a dead letter."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    event_ids: tuple[str, ...] = ()
    stage: str = ""
    reason: str = ""

    def expecting_dead_letter(self, reason: str, *, stage: str = "decode") -> "InputRecord":
        """A copy whose only expected output is a dead letter."""
        return replace(self, event_ids=(), stage=stage, reason=reason)


def photos() -> Iterator[InputRecord]:
    """Return an endless sequence of photos, from several cameras in turn."""
    pictures = [(DATA_DIR / photo.file).read_bytes() for photo in load_photos()]
    started_us = now_us()
    for number in count():
        regions = _REGIONS[number % len(_REGIONS)]
        frame = Frame(f"till-{number % _CAMERAS}", started_us + number, number // _CAMERAS, regions)
        ids = tuple(match_event_id(frame.id, region, MATCH_SCHEMA) for region in regions or (_WHOLE,))
        picture = pictures[number % len(pictures)]
        yield InputRecord(frame.camera.encode(), picture, tuple(frame_headers(frame)), ids)


def with_poison() -> Iterator[InputRecord]:
    """Like `photos`, with one poison record of each kind among the first ones."""
    return _interleave(photos(), _poison(photos()))


def with_invalid_embeddings() -> Iterator[InputRecord]:
    """Like `photos`, with some pictures among the first ones for which the faulty model returns NaN."""
    picture = Image.new("RGB", (64, 64), GIVES_NAN)
    picture.paste(Image.radial_gradient("L").resize((32, 32)), (32, 32))  # of one colour, the model would not get it
    encoded = BytesIO()
    picture.save(encoded, "JPEG", quality=95, subsampling=0)
    bad = (
        replace(record, value=encoded.getvalue(), headers=_with(record, ce_regions=b"[]"))
        for record in islice(photos(), _CAMERAS)
    )
    return _interleave(photos(), [record.expecting_dead_letter("invalid_embedding", stage="infer") for record in bad])


def _poison(records: Iterator[InputRecord]) -> list[InputRecord]:
    """One record of each kind that is not a usable frame."""
    cut, bomb, text, gone, typeless, bare, keyless, crowded, huge, outside = islice(records, 10)
    box, many = b"[900,900,5,5]", b"[" + b",".join([b"[0,0,9,9]"] * 1_000) + b"]"
    return [
        replace(cut, value=_jpeg(cut)[:-100]).expecting_dead_letter("truncated"),
        replace(bomb, value=_as_bomb(_jpeg(bomb))).expecting_dead_letter("too_many_pixels"),
        replace(text, value=b"not a picture").expecting_dead_letter("not_a_jpeg"),
        replace(gone, value=None).expecting_dead_letter("not_a_jpeg"),
        replace(typeless, headers=_with(typeless, ce_type=b"another.type")).expecting_dead_letter("headers"),
        replace(bare, headers=()).expecting_dead_letter("headers"),
        replace(keyless, key=None).expecting_dead_letter("headers"),
        replace(crowded, headers=_with(crowded, ce_regions=many)).expecting_dead_letter("too_many_regions"),
        replace(huge, headers=_with(huge, ce_sequence=b"9" * 200_000)).expecting_dead_letter("headers"),
        replace(outside, headers=_with(outside, ce_regions=b"[" + box + b"]")).expecting_dead_letter("region"),
    ]


def _interleave(good: Iterator[InputRecord], bad: Iterable[InputRecord]) -> Iterator[InputRecord]:
    for record in bad:
        yield record
        yield from islice(good, 3)
    yield from good


def _with(record: InputRecord, **headers: bytes) -> tuple[tuple[str, bytes], ...]:
    return tuple((dict(record.headers) | headers).items())


def _jpeg(record: InputRecord) -> bytes:
    return record.value or b""


def _as_bomb(jpeg: bytes) -> bytes:
    """The same bytes with a header that declares 65,535 by 65,535 pixels."""
    size_at = jpeg.index(_START_OF_FRAME) + len(_START_OF_FRAME)
    return jpeg[:size_at] + b"\xff\xff\xff\xff" + jpeg[size_at + 4 :]
