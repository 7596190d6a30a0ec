"""Finds the header of a CSV file, which some shops write below other rows, and some not at all."""

import re
from collections.abc import Sequence

from framematch.catalog.importing.files.source_file import HeaderPlace
from framematch.catalog.importing.presets.choose import Given, choose_preset, fits, presets_named
from framematch.catalog.importing.presets.column_names import folded_name
from framematch.catalog.importing.presets.preset import Preset
from framematch.catalog.importing.presets.shops.all_shops import PRESETS
from framematch.core.errors import CatalogError

_MAX_TITLE_ROWS = 10
_PICTURE_ADDRESS = re.compile(r"(?:gs|https?)://\S+", re.IGNORECASE)


def find_header(
    rows: Sequence[Sequence[str]], preset_name: str | None = None, given: Given | None = None
) -> HeaderPlace:
    """The header among the cells of a file's first rows: the first row with the columns of a preset.

    Up to ten rows may stand above it, such as a title. A file without a header has the columns of its preset, if its
    first row is one of that. `given` are columns that the user has mapped; None: they are not known, so that any row
    may be the header.

    Raises:
        UsageError: there is no preset with this name.
        CatalogError: no row is a header; the message says what the first one lacks.
    """
    candidates = presets_named(preset_name) if preset_name else PRESETS
    mapped = {folded_name(column) for several in (given or {}).values() for column in several}
    for index, row in enumerate(rows[: _MAX_TITLE_ROWS + 1]):
        folded = {folded_name(cell) for cell in row if cell.strip()}
        if mapped <= folded and any(fits(preset, folded, given) for preset in candidates):
            return _place(index, row)
    first = next((index for index, row in enumerate(rows) if any(cell.strip() for cell in row)), None)
    if first is None:
        raise CatalogError("the file has no rows", hint="It needs a header line and a row for each product")
    for preset in candidates:
        if preset.headerless and (preset_name or _is_headerless(preset, rows[first])):
            return HeaderPlace(None, preset.headerless)
    place = _place(first, rows[first])
    if given is not None:
        choose_preset(place.columns, name=preset_name)  # says what is missing
    return place


def _is_headerless(preset: Preset, row: Sequence[str]) -> bool:
    """Whether the row has the cells of one in a file that begins with a picture's address and has no header."""
    if not len(preset.required) <= len(row) <= len(preset.headerless):
        return False
    by_name = dict(zip(preset.headerless, (cell.strip() for cell in row), strict=False))
    return bool(_PICTURE_ADDRESS.fullmatch(row[0].strip())) and all(by_name.get(name) for name in preset.required)


def _place(index: int, row: Sequence[str]) -> HeaderPlace:
    return HeaderPlace(index, tuple(cell.replace("\ufeff", "").strip() for cell in row))
