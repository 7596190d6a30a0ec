"""The regions of a picture to match: configured boxes, a grid, or boxes around what moved. Pure functions."""

from collections.abc import Iterable, Sequence

from framematch.core.frames import Region
from framematch.core.settings import Box, RegionSettings

_NEAR = 0.02  # share of the picture: parts of one object, such as a patterned shirt, are closer together


def regions_of(settings: RegionSettings, moved: Sequence[Box], size: tuple[int, int]) -> tuple[Region, ...]:
    """Distinct boxes in pixels, inside a picture of `size` (width, height); empty means the whole picture."""
    if settings.mode == "boxes":
        return boxes_in_pixels(settings.boxes, size)
    if settings.mode == "grid":
        return _grid(settings.columns, settings.rows, size)
    return boxes_in_pixels(moved, size) if settings.mode == "motion" else ()


def around(blobs: Sequence[Box], settings: RegionSettings) -> tuple[Box, ...]:
    """Boxes around `blobs`, largest first: merged if near, padded, at least of a minimum size, inside the picture.

    They do not overlap. All values are shares of the picture.
    """
    grown = [_grow(box, settings.pad, settings.min_side) for box in _merge(blobs, _NEAR)]
    return tuple(sorted(_merge(grown, 0.0), key=lambda box: -box[2] * box[3])[: settings.most])


def boxes_in_pixels(boxes: Iterable[Box], size: tuple[int, int]) -> tuple[Region, ...]:
    """Convert shares to pixels of a picture of `size` (width, height): distinct boxes of at least one pixel.

    An event's id is made of its frame and region, so equal regions would give equal ids.
    """
    return tuple(dict.fromkeys(_box_in_pixels(box, size) for box in boxes))


def _grow(box: Box, pad: float, min_side: float) -> Box:
    x, y, width, height = box
    left, right = _grow_side(x, width, pad, min_side)
    top, bottom = _grow_side(y, height, pad, min_side)
    return left, top, right - left, bottom - top


def _grow_side(start: float, length: float, pad: float, length_min: float) -> tuple[float, float]:
    """Both ends of a side, grown around its centre; at the picture's border it grows to the other side."""
    grown = min(1.0, max(length_min, length * (1 + 2 * pad)))
    first = min(max(0.0, start + (length - grown) / 2), 1.0 - grown)
    return first, first + grown


def _merge(boxes: Iterable[Box], gap: float) -> list[Box]:
    """Merge boxes until no two are closer than `gap`; a merged box contains both."""
    merged: list[Box] = []
    for box in boxes:
        union = box
        while (near := next((other for other in merged if _near(union, other, gap)), None)) is not None:
            merged.remove(near)
            union = _union(union, near)
        merged.append(union)
    return merged


def _near(one: Box, other: Box, gap: float) -> bool:
    return all(
        one[axis] < other[axis] + other[axis + 2] + gap and other[axis] < one[axis] + one[axis + 2] + gap
        for axis in (0, 1)
    )


def _union(one: Box, other: Box) -> Box:
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right, bottom = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top


def _box_in_pixels(box: Box, size: tuple[int, int]) -> Region:
    (left, right), (top, bottom) = (_side_in_pixels(box[axis], box[axis + 2], size[axis]) for axis in (0, 1))
    return left, top, right - left, bottom - top


def _side_in_pixels(start: float, length: float, pixels: int) -> tuple[int, int]:
    first = min(round(start * pixels), pixels - 1)
    return first, min(max(round((start + length) * pixels), first + 1), pixels)


def _grid(columns: int, rows: int, size: tuple[int, int]) -> tuple[Region, ...]:
    """Cells in reading order that cover each pixel once; a side has at most as many cells as pixels."""
    return tuple(
        (left, top, right - left, bottom - top)
        for top, bottom in _cuts(size[1], rows)
        for left, right in _cuts(size[0], columns)
    )


def _cuts(pixels: int, parts: int) -> list[tuple[int, int]]:
    parts = min(parts, pixels)
    return [(part * pixels // parts, (part + 1) * pixels // parts) for part in range(parts)]
