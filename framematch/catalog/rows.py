"""Parses a catalogue file, CSV or JSON lines: each row becomes a product draft or a problem with its line number."""

import csv
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from framematch.core.errors import CatalogError

_FIELDS = frozenset({"id", "name", "category", "price", "description", "image", "images", "attributes"})
_BOM = b"\xef\xbb\xbf"
_SAVE_AS = "Save it as CSV (UTF-8) with a header line, or as JSON lines"

Fields = dict[str, Any]


@dataclass(frozen=True)
class ProductDraft:
    """A valid row, whose images are not checked yet; `images` are the paths in the file."""

    line: int
    id: str
    name: str
    category: str | None
    price: float | None
    description: str | None
    attributes: dict[str, Any]
    images: tuple[str, ...]


@dataclass(frozen=True)
class RowProblem:
    """Why the row that starts on `line` (1 is the file's first) was not imported."""

    line: int
    reason: str


class _RowError(Exception):
    """A row is invalid; the message is the reason of its `RowProblem`."""


def parse_rows(lines: Iterable[bytes]) -> Iterator[ProductDraft | RowProblem]:
    """Parse the rows of a catalogue file, in order; `lines` include their line ends, as a binary file yields them.

    CSV has a header with `id`, `name` and `image` (several paths separated by `;`), and may have `category`, `price`
    and `description`; its delimiter is a comma, a semicolon or a tab. JSON lines have the same keys, or a list
    `images`. Other columns become attributes; empty cells count as absent. Of rows with the same id the first counts.

    Raises:
        CatalogError: the file is neither, or a column is missing; raised at the first step of the iteration.
    """
    seen: dict[str, int] = {}
    for line, fields in _read(lines):
        if isinstance(fields, str):
            yield RowProblem(line, fields)
            continue
        try:
            draft = _draft(line, fields)
        except _RowError as error:
            yield RowProblem(line, str(error))
            continue
        first = seen.setdefault(draft.id, line)
        yield draft if first == line else RowProblem(line, f"duplicate id {draft.id!r}, first on line {first}")


def _read(lines: Iterable[bytes]) -> Iterator[tuple[int, Fields | str]]:
    """Line number and fields of each row, or its syntax error."""
    rest = iter(lines)
    first = next(rest, b"").removeprefix(_BOM)
    if not first:
        raise CatalogError("the file is empty", hint=_SAVE_AS)
    if first.startswith(b"{"):
        return _read_jsonl(itertools.chain([first], rest))
    if first.startswith(b"["):
        raise CatalogError("the file is one JSON array", hint="Write one JSON object on each line, without brackets")
    return _read_csv(first, rest)


def _read_jsonl(lines: Iterable[bytes]) -> Iterator[tuple[int, Fields | str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield number, f"not JSON: {error}"
            continue
        yield number, fields if isinstance(fields, dict) else "not a JSON object"


def _read_csv(header: bytes, rest: Iterable[bytes]) -> Iterator[tuple[int, Fields | str]]:
    text = _to_text(header)
    delimiter = max(",;\t", key=text.count)
    reader = csv.reader(map(_to_text, itertools.chain([header], rest)), delimiter=delimiter, strict=True)
    columns = _columns(reader)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield line, f"not CSV: {error}"
            continue
        if cells is None:
            return
        if cells:
            yield line, _row_fields(columns, cells)


def _to_text(line: bytes) -> str:
    # Bytes that are not UTF-8 become lone surrogates, so that one bad row does not end the import.
    return line.decode("utf-8", "surrogateescape")


def _is_text(cells: Iterable[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def _columns(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise CatalogError(f"the first line is not a CSV header: {error}", hint=_SAVE_AS) from None
    if not _is_text(header) or "\0" in "".join(header):
        raise CatalogError("the file is not UTF-8 text", hint=_SAVE_AS)
    columns = [name.lower() if name.lower() in _FIELDS else name for name in header]
    named = [name for name in columns if name]
    if repeated := {name for name in named if named.count(name) > 1}:
        raise CatalogError(f"the header names {min(repeated)!r} twice", hint="Give every column a name of its own")
    missing = [name for name in ("id", "name") if name not in columns]
    if not {"image", "images"} & set(columns):
        missing.append("image")
    if missing:
        raise CatalogError(f"the header has no column {' and no '.join(map(repr, missing))}", hint=_SAVE_AS)
    return columns


def _row_fields(columns: list[str], cells: list[str]) -> Fields | str:
    if len(cells) != len(columns):
        return f"has {len(cells)} cells, the header {len(columns)}"
    if not _is_text(cells):
        return "not UTF-8 text: save the file as CSV (UTF-8)"
    return {name: text for name, cell in zip(columns, cells, strict=True) if name and (text := cell.strip())}


def _draft(line: int, fields: Fields) -> ProductDraft:
    product_id, name = _text(fields, "id"), _text(fields, "name")
    if not product_id:
        raise _RowError("no id")
    if not name:
        raise _RowError("no name")
    images = _images(fields)
    if not images:
        raise _RowError("no image")
    return ProductDraft(
        line=line,
        id=product_id,
        name=name,
        category=_text(fields, "category"),
        price=_price(fields.get("price")),
        description=_text(fields, "description"),
        attributes=_attributes(fields),
        images=images,
    )


def _text(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    raise _RowError(f"{name} is not text")


def _price(value: Any) -> float | None:
    if value is None:
        return None
    try:
        price = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        price = math.nan
    if not math.isfinite(price) or price < 0:
        raise _RowError(f"price {value!r} is not an amount such as 12.90")
    return price


def _images(fields: Fields) -> tuple[str, ...]:
    names: list[str] = []
    for value in (fields.get("image"), fields.get("images")):
        several = value.split(";") if isinstance(value, str) else value or []
        if not isinstance(several, list) or not all(isinstance(name, str) for name in several):
            raise _RowError("image is neither a path nor a list of paths")
        names += [name.strip() for name in several]
    return tuple(dict.fromkeys(name for name in names if name))


def _attributes(fields: Fields) -> dict[str, Any]:
    columns = {key: value for key, value in fields.items() if key not in _FIELDS and value is not None}
    attributes = fields.get("attributes")
    if attributes is None or isinstance(attributes, dict):
        return {**(attributes or {}), **columns}
    return {**columns, "attributes": attributes}
