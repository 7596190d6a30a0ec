"""Reads a form (multipart/form-data) from memory, within bounds; nothing is written to disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from framematch.api.problems import Problem

PARTS_MAX: Final = 32
FIELD_BYTES_MAX: Final = 64_000
"""Of a part that is no file."""
_FORM: Final = "multipart/form-data"
_HINT: Final = "Send it as `curl -F image=@photo.jpg` does, or as JSON"


@dataclass(frozen=True)
class Part:
    """A part of a form."""

    name: str
    data: bytes


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form."""
    return content_type.partition(";")[0].strip().lower() == _FORM


def read_form(content_type: str, body: bytes, *, files: Mapping[str, int]) -> list[Part]:
    """The parts of a form in their order. `files` are the names of parts that are files, and how many there may be.

    Raises:
        Problem: it is no form, or has too many parts or too large ones.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _bad("the header Content-Type has no boundary")
    collector = _Collector(files)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise _bad(f"the form cannot be read: {error}") from None
    if not collector.complete:
        raise _bad("the form ends before its last boundary")
    return collector.parts


@dataclass
class _Collector:
    """Collects what the parser reports; pieces of one text may come apart."""

    files: Mapping[str, int]
    parts: list[Part] = field(default_factory=list)
    complete: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""
    _data: list[bytes] = field(default_factory=list)
    _size: int = 0

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) >= PARTS_MAX:
            raise _bad(f"the form has more than {PARTS_MAX} parts")
        self._disposition, self._data, self._size = b"", [], 0

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])
        self._size += end - start

    def _end(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode("utf-8", "replace")
        if not name:
            raise _bad("a part of the form has no name")
        if name in self.files:
            if sum(part.name == name for part in self.parts) >= self.files[name]:
                raise _bad(f"the form has more than {self.files[name]} parts {name!r}")
        elif self._size > FIELD_BYTES_MAX:
            raise _bad(f"the part {name!r} of the form has more than {FIELD_BYTES_MAX} bytes")
        self.parts.append(Part(name, b"".join(self._data)))

    def _finish(self) -> None:
        self.complete = True


def _bad(text: str) -> Problem:
    return Problem(400, "invalid_form", text, hint=_HINT)
