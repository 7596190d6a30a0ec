"""A strip of black and white cells that encodes camera and frame number, robust to compression, resizing and JPEG.

It is in the top left corner, outside the centre square that the model sees. Rows have eight cells: a row with a known
pattern, for the levels of black and white, then 6 bits of camera, 18 bits of frame and a CRC-16 of both.
"""

import binascii
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.uint8]

CAMERAS = 1 << 6
FRAMES = 1 << 18  # 4.8 hours at 15 frames a second

_COLUMNS, _ROWS = 8, 6
# A cell is 16 x 16 pixels of a 640 x 360 picture: one H.264 macroblock, and still 8 pixels at half the size.
_CELL_WIDTH, _CELL_HEIGHT = 16 / 640, 16 / 360
_LEVELS = np.array([1, 0, 1, 0, 0, 1, 0, 1], bool)
_MIN_SIDE_PX = 90  # below, a cell is less than 4 pixels high
_MIN_CONTRAST = 64  # grey levels between black and white
_TOLERANCE = 0.3  # maximum distance of a cell from black or white, as a share of the contrast


def write(picture: Picture, camera: int, index: int) -> None:
    """Draw the strip into `picture`, [H, W, 3] or [H, W], in place.

    Raises:
        ValueError: `camera` is not in [0, CAMERAS) or `index` not in [0, FRAMES).
    """
    if not (0 <= camera < CAMERAS and 0 <= index < FRAMES):
        raise ValueError(f"camera {camera} and frame {index} do not fit in a strip")
    payload = (camera << 18 | index).to_bytes(3, "big")
    code = payload + binascii.crc_hqx(payload, 0xFFFF).to_bytes(2, "big")
    cells = np.concatenate([_LEVELS, np.unpackbits(np.frombuffer(code, np.uint8)).astype(bool)])
    for (rows, columns), white in zip(_cells(picture, margin=0.0), cells, strict=True):
        picture[rows, columns] = 235 if white else 16  # limited video levels, which are not clipped


def read(picture: Picture) -> tuple[int, int] | None:
    """Camera and frame number of `picture`, [H, W, 3] or [H, W] of any size, or None when it cannot be read."""
    if min(picture.shape[:2]) < _MIN_SIDE_PX:
        return None
    levels = np.array([picture[rows, columns].mean() for rows, columns in _cells(picture, margin=0.25)])
    black = levels[:_COLUMNS][~_LEVELS].mean()
    contrast = levels[:_COLUMNS][_LEVELS].mean() - black
    if contrast < _MIN_CONTRAST:
        return None
    shares = (levels - black) / contrast
    bits = shares > 0.5  # noqa: PLR2004  # half way between black and white
    if (np.abs(shares - bits) > _TOLERANCE).any() or (bits[:_COLUMNS] != _LEVELS).any():
        return None
    code = np.packbits(bits[_COLUMNS:]).tobytes()
    if binascii.crc_hqx(code[:3], 0xFFFF) != int.from_bytes(code[3:], "big"):
        return None
    payload = int.from_bytes(code[:3], "big")
    return payload >> 18, payload & (FRAMES - 1)


def _cells(picture: Picture, *, margin: float) -> list[tuple[slice, slice]]:
    """Rows and columns of each cell in reading order, without a `margin` (share of its size) on each side."""
    height, width = picture.shape[:2]
    return [
        (_pixels(row, margin, height * _CELL_HEIGHT), _pixels(column, margin, width * _CELL_WIDTH))
        for row in range(_ROWS)
        for column in range(_COLUMNS)
    ]


def _pixels(cell: int, margin: float, size_px: float) -> slice:
    return slice(round((cell + margin) * size_px), max(round((cell + 1 - margin) * size_px), round(cell * size_px) + 1))
