"""Pictures for review on one sheet, with numbers to name them by."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageDraw

_CELL_PX = 160
_TEXT_PX = 30
_COLUMNS = 6
_QUALITY = 85


@dataclass(frozen=True)
class Cell:
    """A picture as JPEG, None if it is gone, and two short lines of text below it."""

    jpeg: bytes | None
    lines: tuple[str, str]


def contact_sheet(cells: Iterable[Cell]) -> bytes:
    """One JPEG with all pictures, in rows of six. CPU-bound."""
    every = list(cells)
    columns = min(_COLUMNS, max(1, len(every)))
    rows = max(1, -(-len(every) // columns))
    sheet = Image.new("RGB", (columns * _CELL_PX, rows * (_CELL_PX + _TEXT_PX)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, cell in enumerate(every):
        left, top = number % columns * _CELL_PX, number // columns * (_CELL_PX + _TEXT_PX)
        if cell.jpeg is not None:
            with Image.open(io.BytesIO(cell.jpeg)) as picture:
                picture.thumbnail((_CELL_PX - 4, _CELL_PX - 4))
                sheet.paste(picture, (left + 2, top + 2))
        for line, text in enumerate(cell.lines):
            draw.text((left + 3, top + _CELL_PX + line * (_TEXT_PX // 2)), text, fill="black")
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
