"""Turns the records of a file into rows in the project's terms."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from framematch.catalog.importing.files.records import Defect, Record
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.cell_values import RowRefused
from framematch.catalog.importing.presets.choose import choose_preset
from framematch.catalog.importing.presets.column_names import folded_name, is_namespaced, nearest_name, shown_columns
from framematch.catalog.importing.presets.columns import Columns, RowCells, cells_of, folded_columns
from framematch.catalog.importing.presets.localised_columns import localised_columns
from framematch.catalog.importing.presets.mapping_options import MappingOptions
from framematch.catalog.importing.presets.preset import PRODUCT_FIELDS, Layout, Preset, ProductField
from framematch.catalog.importing.presets.row_identity import keys_of
from framematch.catalog.importing.presets.row_reading import read_row
from framematch.catalog.importing.presets.shops.own import OWN
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.importing.values.guards import without_export_guard
from framematch.catalog.importing.values.money import DecimalSign
from framematch.core.errors import CatalogError, UsageError

_NUMBERED = re.compile(r"(?P<name>.+) \(\d+\)")
_PICTURES = ("images", "own_images")


class RowMapping:
    """The meaning of a file's columns. Its methods are pure, so threads may share it."""

    def __init__(self, columns: Columns, in_file: Sequence[str], decimal: DecimalSign | None = None) -> None:
        self._columns = columns
        self._in_file = folded_columns(in_file)
        self._decimal = decimal
        self._price_names = frozenset(columns.of_field.get("price", ()))

    @property
    def preset(self) -> Preset:
        """The table that the file has."""
        return self._columns.preset

    @property
    def layout(self) -> Layout:
        """How rows belong together."""
        return self.preset.layout

    def described(self) -> tuple[tuple[str, str], ...]:
        """Our fields, and the columns of the file that have them, in its own spelling."""
        return tuple(
            (known, self._in_file[name])
            for known in PRODUCT_FIELDS
            for name in self._columns.of_field.get(known, ())
            if name in self._in_file
        )

    def group_keys(self, fields: Mapping[str, Any]) -> tuple[str, ...]:
        """What the rows of one product have in common: those with an equal key are one product."""
        try:
            return tuple(dict.fromkeys(keys_of(self._cells(fields))))
        except RowRefused:
            return ()  # `source_row` says why

    def price_cells(self, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The texts in columns of prices, with the names of these columns."""
        for column, value in fields.items():
            if isinstance(value, str) and value.strip() and folded_name(column) in self._price_names:
                yield column, value

    def source_row(self, record: Record, styles: Mapping[str, DecimalSign | None]) -> SourceRow | RowProblem:
        """The row, or why it cannot be taken; `styles` has the sign before decimals for each column of prices.

        Raises:
            ValueError: the record has no content.
        """
        content = record.content
        if content is None:
            raise ValueError(f"line {record.line} is blank")
        if isinstance(content, Defect):
            return RowProblem(record.line, record.last_line, content.kind, content.reason)
        if self._decimal is not None:
            styles = dict.fromkeys(content, self._decimal)
        try:
            return read_row(record, self._cells(content), styles)
        except RowRefused as refused:
            return RowProblem(record.line, record.last_line, ProblemKind.FIELD, refused.reason)

    def _cells(self, fields: Mapping[str, Any]) -> RowCells:
        flattened = self.preset.flattened
        if self.preset.name == OWN.name and self._columns.is_csv:
            fields = {name: without_export_guard(v) if isinstance(v, str) else v for name, v in fields.items()}
        return cells_of(self._columns, fields if flattened is None else flattened(fields))


def row_mapping(columns: Sequence[str], options: MappingOptions) -> RowMapping:
    """The mapping of a file with these columns, "" for one without a name.

    Raises:
        UsageError: there is no such preset, or a mapped column is not in the file.
        CatalogError: no preset fits, columns are missing, or several may be meant.
    """
    given = {known: _in_file(known, several, columns) for known, several in options.fields.items()}
    preset = choose_preset(columns, name=options.preset, given=given)
    of_field: dict[ProductField, tuple[str, ...]] = {**preset.columns}
    left_out: frozenset[str] = frozenset()
    if preset.localised:
        found = localised_columns(preset, columns, options, set(given))
        of_field, left_out = dict(found.of_field), found.left_out
    of_field |= {known: tuple(map(folded_name, several)) for known, several in given.items()}
    of_field = _with_repeated(of_field, columns)
    _check_complete(preset, of_field, columns)
    separator = preset.picture_separator if options.picture_separator is None else options.picture_separator
    mapped = Columns(preset, of_field, left_out, options.currency, separator, options.is_csv)
    return RowMapping(mapped, columns, options.decimal)


def parse_product(fields: Mapping[str, Any]) -> SourceRow | RowProblem:
    """A single product with the fields of a row in JSON of the project's own table; it has the line 1."""
    columns = Columns(OWN, OWN.columns, picture_separator=OWN.picture_separator, is_csv=False)
    return RowMapping(columns, tuple(fields)).source_row(Record(1, 1, dict(fields)), {})


def _in_file(known: ProductField, several: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    for column in several:
        if column not in columns and folded_name(column) not in map(folded_name, columns):
            nearest = nearest_name(column, filter(None, columns))
            meant = f"; the nearest is {nearest!r}" if nearest else ""
            raise UsageError(
                f"{known} is mapped to {column!r}, which the file does not have{meant}",
                hint=f"The file has the columns {shown_columns(columns)}",
            )
    return tuple(several)


def _with_repeated(
    of_field: Mapping[ProductField, tuple[str, ...]], columns: Sequence[str]
) -> dict[ProductField, tuple[str, ...]]:
    """The fields with columns of pictures that the header has several times, the further ones with a number.

    Raises:
        CatalogError: another field's column is repeated.
    """
    more: dict[ProductField, tuple[str, ...]] = dict(of_field)
    seen: dict[str, str] = {}
    for column in filter(None, columns):
        numbered = _NUMBERED.fullmatch(column)
        is_repeated = numbered is not None and numbered["name"] in columns
        name = folded_name(numbered["name"] if numbered and is_repeated else column)
        first = seen.setdefault(name, column)
        if first == column or is_namespaced(first) != is_namespaced(column):
            continue
        for known, names in of_field.items():
            if name in names and known not in _PICTURES:
                raise CatalogError(f"the header names {first!r} twice", hint="Give every column a name of its own")
            if name in names and is_repeated:
                more[known] = (*more[known], folded_name(column))
    return more


def _check_complete(preset: Preset, of_field: Mapping[ProductField, Sequence[str]], columns: Sequence[str]) -> None:
    if preset.flattened is not None:
        return
    folded = set(folded_columns(columns))
    needed: list[tuple[str, tuple[ProductField, ...]]] = [("id", ("id", "group")), ("name", ("name",))]
    if not preset.picture_folder:
        needed.append(("images", ("images", "own_images")))
    for known, fields in needed:
        if not any(name in folded for one in fields for name in of_field.get(one, ())):
            raise CatalogError(
                f"the file has no column for {known} as {preset.title} names it",
                hint=f"Say which it is: --map {known}=COLUMN. The file has the columns {shown_columns(columns)}",
            )
