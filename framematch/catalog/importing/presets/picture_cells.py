"""The names of pictures in a cell: one or several, whose names and addresses may contain the separator."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from framematch.catalog.importing.presets.cell_values import RowRefused, json_of_cell

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PICTURE = re.compile(r"\.(?:jpe?g|jpe|jfif|png|webp|bmp|gif|tiff?|avif)(?:[?#].*)?$", re.IGNORECASE)
# Where JSON-LD and other records have the address of a picture that is an object.
_ADDRESS_KEYS = ("contentUrl", "url", "@id", "src")


def is_picture_name(text: str) -> bool:
    """Whether a name ends as those of pictures do."""
    return bool(_PICTURE.search(text))


def picture_names(column: str, value: Any, separator: str) -> Iterator[str]:
    """The names in a cell or a JSON value, in order.

    Raises:
        RowRefused: it is neither a name nor a list of names.
    """
    several = json_of_cell(value)
    for one in several if isinstance(several, list) else [several]:
        name = _address_of(one) if isinstance(one, dict) else one
        if not isinstance(name, str):
            raise RowRefused(f"{column} is neither a path nor a list of paths")
        pieces = [name] if isinstance(several, list) or name is not one else _split(name, separator)
        yield from (piece.strip() for piece in pieces if piece.strip())


def _address_of(picture: dict[str, Any]) -> Any:
    return next((picture[key] for key in _ADDRESS_KEYS if picture.get(key)), None)


def _split(cell: str, separator: str) -> Iterable[str]:
    if not separator:
        return [cell]
    if separator != ";":
        return _joined(re.split(rf"(?<!\\){re.escape(separator)}", cell), separator)
    if separator not in cell:
        for other in ("|", ","):
            pieces = cell.split(other)
            # Names may have these characters, unless each piece is the name of a picture.
            if len(pieces) > 1 and all(is_picture_name(piece.strip()) for piece in pieces if piece.strip()):
                return pieces
    return cell.split(separator)


def _joined(pieces: Iterable[str], separator: str) -> Iterator[str]:
    """The pieces of a cell; separators within an address, or with a backslash before them, are part of a name."""
    name = ""
    for piece in pieces:
        if name and _goes_on(name, piece):
            name += separator + piece
            continue
        yield name.replace(f"\\{separator}", separator)
        name = piece
    yield name.replace(f"\\{separator}", separator)


def _goes_on(name: str, piece: str) -> bool:
    """Whether the piece behind a separator still belongs to the address before it."""
    if not _ADDRESS.match(name.strip()) or _ADDRESS.match(piece.strip()) or piece[:1].isspace():
        return False
    return not (is_picture_name(name) and is_picture_name(piece))
