"""Descriptions and categories of a row, as shops write them into one cell."""

import re
from typing import Any

from framematch.catalog.importing.presets.cell_values import text_value
from framematch.catalog.importing.presets.columns import RowCells
from framematch.catalog.importing.values.html_text import html_to_text

_TAG = re.compile(r"</?[a-z][^<>]*>|<!--", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:[a-z]\w{1,30}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_LEVELS = " > "


def description_of(cells: RowCells, attributes: dict[str, Any]) -> str | None:
    """The description as plain text; one in HTML stays in the attribute `description_html`.

    Raises:
        RowRefused: it is no text.
    """
    text: str | None = cells.read("description", text_value)
    if text is None:
        return None
    if cells.columns.preset.escaped_line_ends:
        text = text.replace("\\r", "").replace("\\n", "\n").strip()
    if not cells.columns.preset.html or not (_TAG.search(text) or _ENTITY.search(text)):
        return text or None
    if _TAG.search(text):
        attributes.setdefault("description_html", text)
    return html_to_text(text) or None


def category_of(cells: RowCells, attributes: dict[str, Any]) -> str | None:
    """The first category, its levels as in `Clothing > Shirts`; the others stay an attribute, as a list.

    Raises:
        RowRefused: it is no text.
    """
    found = cells.first("category")
    if found is None:
        return None
    column, value = found
    several = (
        value if isinstance(value, list) else _split(text_value(column, value), cells.columns.preset.category_separator)
    )
    texts = (text_value(column, one) for one in several)
    categories = [_levels(text, cells.columns.preset.category_levels) for text in texts if text]
    if len(categories) > 1:
        attributes.setdefault(column, categories[1:])
    return categories[0] if categories else None


def _split(text: str | None, separator: str) -> list[str]:
    if text is None:
        return []
    if not separator:
        return [text]
    return [one.replace(f"\\{separator}", separator) for one in re.split(rf"(?<!\\){re.escape(separator)}", text)]


def _levels(text: str, separator: str) -> str:
    if not separator:
        return text
    return _LEVELS.join(level.strip() for level in text.split(separator) if level.strip())
