"""The file of the rows that an import refused: of the shape of the source, so that it can be corrected and imported."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from framematch.catalog.importing.files.records import Defect, Fields, Record
from framematch.catalog.importing.files.source_file import SourceFile
from framematch.core.errors import UsageError

REASON_COLUMNS: Final = ("line", "reason")
"""The last two columns: the row's first line in the source, and why it was refused. Another import ignores them."""
_NAME, _OTHER_NAME = "import_refused", "import_refused_again"
# Excel reads a CSV file as UTF-8 only with a byte order mark.
_CSV_ENCODING, _JSON_ENCODING = "utf-8-sig", "utf-8"


class RefusedRows:
    """Writes rows as they are refused, as a context. Without any, there is no file at the end.

    A CSV file becomes CSV with the same columns and delimiter; every other format becomes JSON lines. A row that could
    not be read has its raw text in the first cell, or under the key `raw`.

    Raises:
        UsageError: the file cannot be written; at any time.
    """

    def __init__(self, path: Path, source: SourceFile) -> None:
        self.path = path
        self.count = 0
        self._source = source
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            encoding = _CSV_ENCODING if source.delimiter else _JSON_ENCODING
            # What is no text becomes an escape, which JSON has too.
            self._file = path.open("w", encoding=encoding, errors="backslashreplace", newline="")
        except OSError as error:
            raise _unwritable(path, error) from None
        self._csv = csv.writer(self._file, delimiter=source.delimiter or ",")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
            if not self.count:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def write(self, record: Record, reason: str) -> None:
        """Add a row."""
        fields = record.content if isinstance(record.content, dict) else None
        raw = record.content.raw if isinstance(record.content, Defect) else ""
        try:
            if self._source.delimiter:
                if not self.count:
                    self._csv.writerow((*_header(self._source), *REASON_COLUMNS))
                self._csv.writerow((*self._cells(fields, raw), record.line, reason))
            else:
                content = {"raw": raw} if fields is None else fields
                line = {**content, **dict(zip(REASON_COLUMNS, (record.line, reason), strict=True))}
                self._file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        except OSError as error:
            raise _unwritable(self.path, error) from None
        self.count += 1

    def flush(self) -> None:
        """Hand all rows over to the operating system, so that they are kept when this process is killed."""
        try:
            self._file.flush()
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def _cells(self, fields: Fields | None, raw: str) -> list[Any]:
        if fields is None:
            return [raw, *[""] * (len(self._source.columns) - 1)]
        return [fields.get(name, "") if name else "" for name in self._source.columns]


def refused_path(given: Path | None, source: Path, folder: Path, *, is_csv: bool) -> Path:
    """Where the refused rows go: to the file that is `given`, else into `folder`; never to the source itself.

    Raises:
        UsageError: the source is given.
    """
    if given:
        if _is_same(given, source):
            raise UsageError("--refused names the catalogue file itself", hint="Name another file")
        return given
    suffix = ".csv" if is_csv else ".jsonl"
    path = folder / f"{_NAME}{suffix}"
    return folder / f"{_OTHER_NAME}{suffix}" if _is_same(path, source) else path


def without_reasons(source: SourceFile) -> SourceFile:
    """The source without the two columns of an earlier import's refused rows, if it is the file of these."""
    if source.delimiter is None:
        return replace(source, records=map(_without_reason_keys, source.records))
    if source.columns[-2:] != REASON_COLUMNS:
        return source
    return replace(source, columns=source.columns[:-2], records=_without_columns(source.records))


def _header(source: SourceFile) -> tuple[str, ...]:
    """The names of the columns as the file has them: one that stands there several times has no number."""
    return tuple(
        next((one for one in source.repeated_columns if re.fullmatch(rf"{re.escape(one)} \(\d+\)", name)), name)
        for name in source.columns
    )


def _without_columns(records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        if isinstance(record.content, dict):
            content = {name: value for name, value in record.content.items() if name not in REASON_COLUMNS}
            yield replace(record, content=content or None)
        else:
            yield record


def _without_reason_keys(record: Record) -> Record:
    if not isinstance(record.content, dict) or tuple(record.content)[-2:] != REASON_COLUMNS:
        return record
    return replace(record, content=dict(list(record.content.items())[:-2]))


def _is_same(path: Path, source: Path) -> bool:
    try:
        return path.samefile(source)
    except OSError:  # one of them does not exist
        return path.resolve() == source.resolve()


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write the refused rows to {path}: {error.strerror}", hint="Name a file with --refused")
