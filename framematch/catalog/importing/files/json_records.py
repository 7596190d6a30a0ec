"""Reads JSON lines: one product, a JSON object, on each line."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from framematch.catalog.importing.files.records import Defect, Fields, Lines, Record, known_name
from framematch.catalog.importing.files.text_file import MAX_LINE_CHARACTERS, is_text
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError


class _InvalidError(Exception):
    """The text is no JSON object, or an ambiguous one."""


def read_json_lines(lines: Lines) -> Iterator[Record]:
    """The records from the first line on, which starts with `{` or `[`.

    Raises:
        CatalogError: the file is one JSON array, or one object on several lines.
    """
    first = True
    while (line := lines.take()) is not None:
        if first:
            _check_start(line)
            first = False
        yield Record(lines.number, lines.number, _content(line))


def _check_start(line: str) -> None:
    if line.lstrip().startswith("["):
        raise CatalogError(
            "the file is one JSON array", hint="Write one JSON object on each line: jq -c '.[]' FILE > FILE.jsonl"
        )
    if line.strip() == "{":
        raise CatalogError(
            "the file has JSON objects on several lines",
            hint="Write one JSON object on each line: jq -c . FILE > FILE.jsonl",
        )


def _content(line: str) -> Fields | Defect | None:
    if not line.strip():
        return None
    if len(line) > MAX_LINE_CHARACTERS:
        return Defect(ProblemKind.TOO_LONG, f"the line has more than {MAX_LINE_CHARACTERS:,} characters")
    if not is_text(line):
        return Defect(ProblemKind.NOT_TEXT, "has bytes that are not UTF-8 text")
    try:
        return _decode(line)
    except _InvalidError as error:
        return Defect(ProblemKind.NOT_JSON, str(error))


def _decode(line: str) -> Fields:
    try:
        fields = json.loads(line.rstrip(), object_pairs_hook=_object, parse_constant=_refuse)
    except RecursionError:
        raise _InvalidError("not JSON: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _InvalidError(f"not JSON: {error.msg} at character {error.colno}") from None
    except ValueError as error:  # a number of thousands of digits
        raise _InvalidError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise _InvalidError("not a JSON object")
    return _object([(known_name(key), value) for key, value in fields.items()])


def _object(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _InvalidError(f"has the key {twice!r} twice")
    return fields


def _refuse(constant: str) -> None:
    raise _InvalidError(f"not JSON: {constant} is no JSON number")
