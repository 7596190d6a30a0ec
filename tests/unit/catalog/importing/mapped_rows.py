"""Rows of catalogue files as the presets read them."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from framematch.catalog.importing.files.open_file import open_source
from framematch.catalog.importing.files.records import Record
from framematch.catalog.importing.files.source_file import ReadOptions
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.find_header import find_header
from framematch.catalog.importing.presets.mapping import RowMapping, row_mapping
from framematch.catalog.importing.presets.mapping_options import MappingOptions
from framematch.catalog.importing.problems import RowProblem
from framematch.catalog.importing.values.money import DecimalSign, decimal_sign

SAMPLES = Path(__file__).with_name("samples")


def mapped(columns: Iterable[str], **options: Any) -> RowMapping:
    """The mapping of a file with these columns."""
    return row_mapping(tuple(columns), MappingOptions(**options))


def row_of(row: Mapping[str, Any], **options: Any) -> SourceRow | RowProblem:
    """The only row of a file, which has these columns and no others."""
    mapping = mapped(row, **options)
    return mapping.source_row(Record(2, 2, {key: value for key, value in row.items() if value != ""}), {})


def good(row: Mapping[str, Any], **options: Any) -> SourceRow:
    """The only row of a file, which is valid."""
    read = row_of(row, **options)
    assert isinstance(read, SourceRow), read
    return read


def reason(row: Mapping[str, Any], **options: Any) -> str:
    """Why the only row of a file is refused."""
    read = row_of(row, **options)
    assert isinstance(read, RowProblem), read
    return read.reason


def cells(text: str) -> list[list[str]]:
    """The cells of a CSV text."""
    return list(csv.reader(io.StringIO(text)))


def sample_rows(path: str, options: MappingOptions | None = None) -> tuple[RowMapping, list[SourceRow]]:
    """The mapping of a sample file and all of its rows, which are valid."""
    given = options or MappingOptions()
    with open_source(SAMPLES / path, ReadOptions(), partial(find_header, preset_name=given.preset)) as source:
        mapping = row_mapping(source.columns, given)
        records = [record for record in source.records if record.content is not None]
    styles = column_styles(mapping, records)
    rows = [mapping.source_row(record, styles) for record in records]
    assert not (problems := [row for row in rows if isinstance(row, RowProblem)]), problems
    return mapping, [row for row in rows if isinstance(row, SourceRow)]


def column_styles(mapping: RowMapping, records: Iterable[Record]) -> dict[str, DecimalSign | None]:
    """The decimal signs of the columns of prices, as the import finds them."""
    texts: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if isinstance(record.content, dict):
            for column, text in mapping.price_cells(record.content):
                texts[column].append(text)
    return {column: decimal_sign(several) for column, several in texts.items()}


def sample_groups(path: str, options: MappingOptions | None = None) -> dict[str, list[SourceRow]]:
    """The rows of each product, which share keys, by the id of the product."""
    mapping, rows = sample_rows(path, options)
    with open_source(SAMPLES / path, ReadOptions(), find_header) as source:
        keys = [mapping.group_keys(record.content) for record in source.records if isinstance(record.content, dict)]
    groups: list[tuple[set[str], list[SourceRow]]] = []
    for row, of_row in zip(rows, keys, strict=True):
        assert of_row
        joined = [group for group in groups if group[0] & set(of_row)]
        groups = [group for group in groups if group not in joined]
        of_group = sorted([*(one for _, several in joined for one in several), row], key=lambda one: one.line)
        groups.append((set(of_row).union(*(group for group, _ in joined)), of_group))
    by_id = {_product(group).id or "": list(with_listed(group)) for _, group in groups}
    assert len(by_id) == len(groups)
    return by_id


def _product(group: list[SourceRow]) -> SourceRow:
    products = [row for row in group if row.role == "product"]
    return next((row for row in products if row.options_by_sku), (products or group)[0])


def with_listed(rows: Iterable[SourceRow]) -> Iterator[SourceRow]:
    """The rows, and the variants that they list."""
    for row in rows:
        yield row
        yield from row.variants
