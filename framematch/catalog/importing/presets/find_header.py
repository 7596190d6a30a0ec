"""Finds the header of a CSV file, which some shops write below other rows, and some not at all."""

import re
from collections import Counter
from collections.abc import Sequence

from framematch.catalog.importing.files.source_file import HeaderPlace
from framematch.catalog.importing.presets.choose import missing_columns, presets_named
from framematch.catalog.importing.presets.column_names import folded_name
from framematch.catalog.importing.presets.preset import Preset
from framematch.catalog.importing.presets.shops.all_shops import PRESETS
from framematch.core.errors import CatalogError

_MAX_TITLE_ROWS = 10
_PICTURE_ADDRESS = re.compile(r"(?:gs|https?)://\S+", re.IGNORECASE)


def find_header(rows: Sequence[Sequence[str]], preset_name: str | None = None) -> HeaderPlace:
    """The header among the cells of a file's first rows.

    It is the first of ten rows that has the columns of a preset. A file without one has the columns of its preset,
    if its first row is one of that. Else the first row that is not blank is the header, whatever it has.

    Raises:
        UsageError: there is no preset with this name.
        CatalogError: all rows are blank, or the header has a name twice.
    """
    candidates = presets_named(preset_name) if preset_name else PRESETS
    for index, row in enumerate(rows[: _MAX_TITLE_ROWS + 1]):
        folded = {folded_name(cell) for cell in row if cell.strip()}
        if any(_is_header(preset, folded) for preset in candidates):
            return _place(index, row)
    first = next((index for index, row in enumerate(rows) if any(cell.strip() for cell in row)), None)
    if first is None:
        raise CatalogError("the file is empty", hint="It needs a header line and a row for each product")
    for preset in candidates:
        if preset.headerless and (preset_name or _is_headerless(preset, rows[first])):
            return HeaderPlace(None, preset.headerless)
    return _place(first, rows[first])


def _is_header(preset: Preset, folded: set[str]) -> bool:
    return not missing_columns(preset, folded, {})


def _is_headerless(preset: Preset, row: Sequence[str]) -> bool:
    """Whether the row is one of a file that begins with a picture's address and has no header."""
    cells = [cell.strip() for cell in row]
    is_short = min(len(preset.headerless), len(cells)) == len(cells)
    return (
        is_short and len(preset.required) < len(cells) and bool(_PICTURE_ADDRESS.fullmatch(cells[0])) and bool(cells[3])
    )


def _place(index: int, row: Sequence[str]) -> HeaderPlace:
    columns = tuple(cell.replace("\ufeff", "").strip() for cell in row)
    if repeated := [name for name, count in Counter(filter(None, columns)).items() if count > 1]:
        raise CatalogError(f"the header names {repeated[0]!r} twice", hint="Give every column a name of its own")
    return HeaderPlace(index, columns)
