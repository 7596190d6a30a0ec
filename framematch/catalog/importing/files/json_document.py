"""Reads a JSON file: an array of objects, an object with a list of them, one object, or several in a row."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from framematch.catalog.importing.files.json_ld import products_in
from framematch.catalog.importing.files.json_lines import InvalidJsonError, object_fields
from framematch.catalog.importing.files.json_text import MAX_VALUE_CHARACTERS, JsonCutError, JsonText, JsonValue
from framematch.catalog.importing.files.lines_of_text import MAX_LINE_CHARACTERS
from framematch.catalog.importing.files.records import Defect, Fields, Record
from framematch.catalog.importing.problems import ProblemKind

START_CHARACTERS = 8_000_000
"""So much of a file is looked at to find its list; a smaller file is looked at as a whole."""
# The names that programs give to the list of their records.
_LIST_NAMES = frozenset(
    {"@graph", "articles", "data", "entries", "items", "listings", "nodes", "products", "records", "results", "rows"}
)
# And to what is around it.
_WRAPPERS = frozenset({"body", "catalog", "catalogue", "content", "data", "payload", "response", "result", "shop"})
_LINKED_DATA = re.compile(r'"@(context|graph|type)"')
_SHOWS_KIND_CHARACTERS = 2_000
_lenient = json.JSONDecoder(strict=False)


def is_linked_data(start: str) -> bool:
    """Whether the beginning of a JSON text is JSON-LD."""
    return bool(_LINKED_DATA.search(start, 0, _SHOWS_KIND_CHARACTERS))


def list_name(value: Any) -> str | None:
    """The key under which an object has its list of records; None if the object is a record itself."""
    if not isinstance(value, dict):
        return None
    lists = [str(key) for key, content in value.items() if isinstance(content, list) and _has_objects(content)]
    if named := [key for key in lists if key.strip().lower() in _LIST_NAMES]:
        return named[0]
    return lists[0] if lists and len(value) == 1 else None


def list_path(start: str) -> tuple[str, ...]:
    """The keys that lead from the top to the list of records: empty for an array, or an object that is a record."""
    try:
        value, _end = _lenient.raw_decode(start.lstrip("\ufeff \t\r\n"))
    except (ValueError, RecursionError):
        return _path_of_unfinished(start)
    path: list[str] = []
    while isinstance(value, dict):
        name = list_name(value)
        if name is None:  # {"data": {"products": […]}}
            name = next((key for key in value if key.strip().lower() in _WRAPPERS and list_name(value[key])), None)
        if name is None:
            return ()
        path.append(name)
        value = value[name]
    return tuple(path)


def json_records(text: JsonText, path: tuple[str, ...]) -> Iterator[Record]:
    """The records of the list at `path`; without a path those of an array, or of all values of the file.

    If the file ends in the middle, or is no JSON from some place on, the last record is a defect of the kind `CUT`.
    """
    try:
        yield from map(_record, _values(text, path))
    except JsonCutError as error:
        yield _cut(text, error)


def linked_records(text: JsonText, path: tuple[str, ...], *, whole: bool) -> Iterator[Record]:
    """The products in JSON-LD, numbered. `whole`: a file that is small enough to let its nodes find each other."""
    contents = enumerate(_linked_contents(text, path, whole=whole), 1)
    return (Record(number, number, content) for number, content in contents)


def _linked_contents(text: JsonText, path: tuple[str, ...], *, whole: bool) -> Iterator[Fields | Defect]:
    try:
        values = _values_in_a_row(text, 2 * START_CHARACTERS) if whole else _values(text, path)
        for value in values:
            if value.kind is not None:
                yield Defect(value.kind, value.reason, value.raw)
            else:
                yield from products_in(value.value)
    except JsonCutError as error:
        yield Defect(ProblemKind.CUT, f"{error.reason} (line {error.line})", error.raw)


def have_own_lines(first: list[Record]) -> bool:
    """Whether each of the first records begins on a line of its own."""
    return all(one.last_line < other.line for one, other in pairwise(first))


def is_lines(first: list[str]) -> bool:
    """Whether the first two lines that are not blank, or the only one, are JSON lines, of which some may be bad."""
    if first[0].lstrip().startswith("["):
        return False
    values = [_value(line) for line in first]
    if is_linked_data(first[0]) or len(first[0]) > MAX_LINE_CHARACTERS:
        return False
    if values[0] is not None:
        return len(first) > 1 or not list_path(first[0])
    return first[0].rstrip().endswith("}") or (len(first) > 1 and isinstance(values[1], dict))


def first_text(pieces: Iterator[str]) -> str:
    """The beginning of the file, up to `START_CHARACTERS` and a piece."""
    taken: list[str] = []
    while sum(map(len, taken)) < START_CHARACTERS and (piece := next(pieces, "")):
        taken.append(piece)
    return "".join(taken)


def _values(text: JsonText, path: tuple[str, ...]) -> Iterator[JsonValue]:
    for name in path:
        text.expect("{")
        _find_key(text, name)
    if text.peek() == "[":
        yield from _elements(text)
        for _ in path:
            _pass_rest_of_object(text)
    yield from _values_in_a_row(text)


def _values_in_a_row(text: JsonText, limit: int = MAX_VALUE_CHARACTERS) -> Iterator[JsonValue]:
    while text.peek():
        if text.peek() in ",:]}":
            text.expect("{")
        yield text.value(limit)


def _elements(text: JsonText) -> Iterator[JsonValue]:
    text.expect("[")
    while not text.take("]"):
        yield text.value()
        if text.peek() != "]":
            text.expect(",")


def _find_key(text: JsonText, name: str) -> None:
    while True:
        key = text.value().value
        text.expect(":")
        if key == name:
            return
        text.value()
        text.expect(",")


def _pass_rest_of_object(text: JsonText) -> None:
    while not text.take("}"):
        text.expect(",")
        text.value()
        text.expect(":")
        text.value()


def _record(value: JsonValue) -> Record:
    if value.kind is not None:
        return Record(value.line, value.last_line, Defect(value.kind, value.reason, value.raw))
    try:
        content: Fields | Defect = object_fields(value.value)
    except InvalidJsonError as error:
        content = Defect(ProblemKind.NOT_JSON, str(error), value.raw)
    return Record(value.line, value.last_line, content)


def _cut(text: JsonText, error: JsonCutError) -> Record:
    return Record(error.line, max(text.line, error.line), Defect(ProblemKind.CUT, error.reason, error.raw))


def _path_of_unfinished(start: str) -> tuple[str, ...]:
    """The keys that lead to the list within which the beginning of a file ends; else to the longest list."""
    text = JsonText(iter([start]))
    path: list[str] = []
    while text.take("{") and (inner := _longest_member(text)):
        path.append(inner[0])
        text = inner[1]
    return tuple(path)


def _longest_member(text: JsonText) -> tuple[str, JsonText] | None:
    """The key of a member of an object, and where its value starts."""
    found: list[tuple[bool, int, str, JsonText]] = []
    unfinished: tuple[str, JsonText] | None = None
    try:
        while text.peek() == '"':
            key = str(text.value().value)
            text.expect(":")
            unfinished = (key, text.copy()) if text.peek() in ("[", "{") else None
            value = text.value()
            if unfinished:
                found.append((key.strip().lower() in _LIST_NAMES, len(value.raw), *unfinished))
            unfinished = None
            text.take(",")
    except JsonCutError:
        if unfinished:
            return unfinished
    return max(found, key=lambda member: member[:2])[2:] if found else None


def _has_objects(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict) for item in items[:10])


def _value(line: str) -> Any:
    try:
        return _lenient.decode(line)
    except (ValueError, RecursionError):
        return None
