"""Parses a catalogue file, CSV or JSON lines: each row becomes a product draft or a problem with its line number."""

import io
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from framematch.catalog.importing.files.csv_header import read_header
from framematch.catalog.importing.files.csv_records import CsvReader
from framematch.catalog.importing.files.json_records import read_json_lines
from framematch.catalog.importing.files.records import KNOWN_COLUMNS, Defect, Fields, Lines, Record, check_complete
from framematch.catalog.importing.files.text_file import SAVE_AS, text_lines
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.product import CURRENCY, Sku, read_skus
from framematch.core.amounts import to_amount
from framematch.core.errors import CatalogError

_EXACT = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True)
class ProductDraft:
    """A valid row, whose images are not checked yet; `images` are the names in the file."""

    line: int
    last_line: int
    id: str
    name: str
    category: str | None
    price: Decimal | None
    description: str | None
    attributes: dict[str, Any]
    images: tuple[str, ...]
    currency: str | None = None
    skus: tuple[Sku, ...] = ()

    def problem(self, kind: ProblemKind, reason: str) -> RowProblem:
        """Why this row is not imported."""
        return RowProblem(self.line, self.last_line, kind, reason)


@dataclass(frozen=True)
class BlankLines:
    """Lines without content, or with empty cells only; they are no row."""

    line: int
    last_line: int


Row = ProductDraft | RowProblem | BlankLines


class _RowError(Exception):
    """A row is invalid; the message is the reason of its `RowProblem`."""


def parse_rows(file: io.BufferedReader, lines_by_id: dict[str, int]) -> Iterator[Row]:
    """Parse the rows of a catalogue file, in order. Together they contain all lines behind the header.

    CSV has a header with `id`, `name` and `image` (several paths separated by `;`), and may have `category`, `price`
    and `description`; its delimiter is a comma, semicolon, tab or vertical bar. JSON lines have the same keys, or a
    list `images`. Other columns become attributes; empty cells count as absent. Of rows with the same id the first
    counts; ids are equal when they look the same (Unicode's NFC). `lines_by_id` collects the ids of all drafts.

    Raises:
        CatalogError: the file is neither, or a column is missing; raised at the first step of the iteration.
    """
    for record in _read(file):
        if record.content is None:
            yield BlankLines(record.line, record.last_line)
            continue
        row = _row(record, record.content)
        if isinstance(row, ProductDraft) and (first := lines_by_id.setdefault(row.id, row.line)) != row.line:
            yield row.problem(ProblemKind.DUPLICATE, f"duplicate id {row.id!r}, first on line {first}")
        else:
            yield row


def parse_product(fields: Fields) -> ProductDraft | RowProblem:
    """A single product with the fields of a row in JSON, as `parse_rows` checks it; it has the line 1."""
    return _row(Record(1, 1, fields), fields)


def normal_id(text: str) -> str:
    """A product's id as it is stored: ids that look the same are the same."""
    return unicodedata.normalize("NFC", text.strip())


def similar_ids(ids: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of ids that differ only in case or spaces."""
    first: dict[str, str] = {}
    pairs = ((first.setdefault(" ".join(text.casefold().split()), text), text) for text in ids)
    return tuple((one, other) for one, other in pairs if one != other)


def _read(file: io.BufferedReader) -> Iterator[Record]:
    lines = Lines(text_lines(file))
    blank: list[str] = []
    while (line := lines.take()) is not None and not line.strip():
        blank.append(line)
    if line is None:
        raise CatalogError("the file is empty", hint=SAVE_AS)
    lines.give_back([line])
    if line.lstrip().startswith(("{", "[")):
        return check_complete(read_json_lines(lines), lines)
    header = read_header(lines)
    return check_complete(CsvReader(lines, header).records(), lines)


def _row(record: Record, content: Fields | Defect) -> ProductDraft | RowProblem:
    if isinstance(content, Defect):
        return RowProblem(record.line, record.last_line, content.kind, content.reason)
    try:
        return _draft(record, content)
    except _RowError as error:
        return RowProblem(record.line, record.last_line, ProblemKind.FIELD, str(error))


def _draft(record: Record, fields: Fields) -> ProductDraft:
    product_id, name = _text(fields, "id"), _text(fields, "name")
    if not product_id:
        raise _RowError("no id")
    if not name:
        raise _RowError("no name")
    images = _images(fields)
    if not images:
        raise _RowError("no image")
    return ProductDraft(
        line=record.line,
        last_line=record.last_line,
        id=normal_id(product_id),
        name=name,
        category=_text(fields, "category"),
        price=_price(fields.get("price")),
        description=_text(fields, "description"),
        attributes=_attributes(fields),
        images=images,
        currency=_currency(fields),
        skus=_skus(fields.get("skus")),
    )


def _text(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise _RowError(f"{name} is not text")
    if value and "\0" in value:
        raise _RowError(f"{name} contains a NUL character")
    return (value or "").strip() or None


def _price(value: Any) -> Decimal | None:
    if value is None:
        return None
    price = to_amount(value)
    if price is None:
        raise _RowError(f"price {value!r} is not an amount such as 12.90")
    return price


def _currency(fields: Fields) -> str | None:
    currency = _text(fields, "currency")
    if currency is not None and not CURRENCY.fullmatch(currency):
        raise _RowError(f"currency {currency!r} is not a code such as EUR")
    return currency


def _skus(value: Any) -> tuple[Sku, ...]:
    """The articles in a list as the export writes it, or in its JSON text."""
    try:
        skus, problems = read_skus(_EXACT.decode(value) if isinstance(value, str) else value)
    except msgspec.DecodeError as error:
        raise _RowError(f"skus is not JSON: {error}") from None
    if problems:
        raise _RowError(problems[0])
    return skus


def _images(fields: Fields) -> tuple[str, ...]:
    names: list[str] = []
    for value in (fields.get("image"), fields.get("images")):
        several = value.split(";") if isinstance(value, str) else value or []
        if not isinstance(several, list) or not all(isinstance(name, str) for name in several):
            raise _RowError("image is neither a path nor a list of paths")
        names += [name.strip() for name in several]
    return tuple(dict.fromkeys(name for name in names if name))


def _attributes(fields: Fields) -> dict[str, Any]:
    columns = {key: value for key, value in fields.items() if key not in KNOWN_COLUMNS and value is not None}
    attributes = fields.get("attributes")
    if attributes is None:
        return columns
    if not isinstance(attributes, dict):
        return {**columns, "attributes": attributes}
    if twice := attributes.keys() & columns.keys():
        raise _RowError(f"{min(twice)!r} is given twice, also in attributes")
    return {**attributes, **columns}
