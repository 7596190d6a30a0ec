"""Reads Parquet with pyarrow, the extra `parquet`: row by row, decimals as exact text."""

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from framematch.catalog.importing.files.byte_source import ByteSource
from framematch.catalog.importing.files.csv_table import distinct_names
from framematch.catalog.importing.files.lines_of_text import is_text
from framematch.catalog.importing.files.records import Defect, Fields, Record
from framematch.catalog.importing.files.source_file import Progress, SourceFile
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError, PrerequisiteError

_BATCH_ROWS = 500


def open_parquet(source: ByteSource) -> SourceFile:
    """The rows of a Parquet file, numbered.

    Decimals are exact text, dates and times in ISO 8601; null and NaN are absent, and bytes that are no UTF-8 text.

    Raises:
        PrerequisiteError: pyarrow is not installed.
        CatalogError: the file is damaged.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415  # an extra of its own
        from pyarrow import parquet  # noqa: PLC0415  # an extra of its own
    except ImportError as error:
        raise PrerequisiteError(
            f"a Parquet file needs the Python package {error.name!r}",
            hint="Install it with: pip install 'framematch[parquet]'",
        ) from error
    try:
        file = parquet.ParquetFile(source.seekable_file(), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise CatalogError(f"the Parquet file cannot be read: {_first_line(error)}", hint="Export it again") from None
    columns, repeated, told = distinct_names(file.schema_arrow.names)
    binary = [name for name, kind in zip(columns, file.schema_arrow.types, strict=True) if "binary" in str(kind)]
    left_out = f"Bytes that are no text are left out: {', '.join(binary[:5])}." if binary else ""

    def records() -> Iterator[Record]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield Record(number, number, _fields(columns, row))
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            number += 1
            reason = f"the file cannot be read from here on: {_first_line(error)}"
            yield Record(number, number, Defect(ProblemKind.CUT, reason))

    return SourceFile(
        format="Parquet",
        encoding="utf-8",
        delimiter=None,
        columns=columns,
        notices=(*told, left_out) if left_out else told,
        records=records(),
        repeated_columns=repeated,
        numbered_by="record",
        progress=Progress(lambda: source.position_bytes, source.size_bytes),
    )


def _fields(columns: tuple[str, ...], row: tuple[Any, ...]) -> Fields | None:
    fields = {name: plain for name, cell in zip(columns, row, strict=True) if (plain := _plain(cell)) not in (None, "")}
    return fields or None


def _plain(value: Any) -> Any:
    """The value as JSON has it; what JSON has not becomes text, or is absent."""
    if isinstance(value, dict):
        return {str(key): _plain(content) for key, content in value.items()}
    if isinstance(value, list):
        is_map = bool(value) and all(isinstance(item, tuple) for item in value)
        if is_map and len({key for key, _content in value}) == len(value):
            return {str(key): _plain(content) for key, content in value}
        return [_plain(list(item) if isinstance(item, tuple) else item) for item in value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
        value = value if is_text(value) else None
    if isinstance(value, float) and math.isnan(value):
        value = None
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value).strip()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
