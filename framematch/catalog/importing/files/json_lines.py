"""Reads JSON lines: one product, a JSON object, on each line. And decodes JSON as strictly as a catalogue needs it."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from framematch.catalog.importing.files.lines_of_text import MAX_LINE_CHARACTERS, first_bad_byte, is_text
from framematch.catalog.importing.files.records import Defect, Fields, Lines, Record
from framematch.catalog.importing.problems import ProblemKind


class InvalidJsonError(Exception):
    """The text is no JSON object, or an ambiguous one; the message is the reason of a defect."""


def json_line_records(lines: Lines, encoding: str) -> Iterator[Record]:
    """The records of all lines; their keys are those of the file without spaces around them."""
    while (line := lines.take()) is not None:
        yield Record(lines.number, lines.number, _content(line, encoding))


def decode_json(text: str, *, strict: bool = True) -> Any:
    """The value of a JSON text; each key stands only once in an object, and no number is NaN or infinite.

    `strict=False` allows line ends within strings, as pages have them.

    Raises:
        InvalidJsonError: the text is no such JSON.
    """
    try:
        return (decoder if strict else _lenient).decode(text)
    except RecursionError:
        raise InvalidJsonError("not JSON: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidJsonError(f"not JSON: {error.msg} at character {error.colno}") from None
    except ValueError as error:  # a number of thousands of digits
        raise InvalidJsonError(f"not JSON: {error}") from None


def object_fields(value: Any) -> Fields:
    """The fields of a product: keys without spaces around them, without those whose value is null or empty text.

    Raises:
        InvalidJsonError: it is no object, or two keys are the same.
    """
    if not isinstance(value, dict):
        raise InvalidJsonError("not a JSON object")
    fields = _object([(key.strip(), content) for key, content in value.items()])
    return {key: content for key, content in fields.items() if not _is_empty(content)}


def _is_empty(content: Any) -> bool:
    return content is None or (isinstance(content, str) and not content.strip())


def _content(line: str, encoding: str) -> Fields | Defect | None:
    if not line.strip():
        return None
    raw = line.rstrip("\r\n")
    if len(line) > MAX_LINE_CHARACTERS:
        return Defect(ProblemKind.TOO_LONG, f"the line has more than {MAX_LINE_CHARACTERS:,} characters", raw)
    if not is_text(line):
        return Defect(ProblemKind.NOT_TEXT, f"has {first_bad_byte(line)}, which is not {encoding} text", raw)
    try:
        return object_fields(decode_json(line))
    except InvalidJsonError as error:
        return Defect(ProblemKind.NOT_JSON, str(error), raw)


def _object(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise InvalidJsonError(f"has the key {twice!r} twice")
    return fields


def _refuse(constant: str) -> None:
    raise InvalidJsonError(f"not JSON: {constant} is no JSON number")


decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)
"""Decodes JSON as `decode_json` does."""
_lenient = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse, strict=False)
