"""Reads feeds and other XML: the items of RSS, the entries of Atom, or the element that is repeated below the root."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from framematch.catalog.importing.files.records import Defect, Fields, Record
from framematch.catalog.importing.files.xml_parser import NO_TEXT, XmlCutError, XmlParser
from framematch.catalog.importing.files.xml_shape import XmlShape
from framematch.catalog.importing.problems import ProblemKind

_RECORD_CHARACTERS_MAX = 4_000_000


def xml_records(pieces: Iterator[str], shape: XmlShape, encoding: str) -> Iterator[Record]:
    """All records; if the file ends in the middle, the last one is a defect of the kind `CUT`."""
    found: list[Record] = []
    collector = _Collector(shape, encoding, found.append)
    parser = XmlParser(collector.start, collector.text, collector.end)
    collector.line_of = lambda: parser.line
    cut: XmlCutError | None = None
    try:
        for piece in pieces:
            parser.feed(piece)
            yield from found
            found.clear()
        parser.feed("", last=True)
    except XmlCutError as error:
        cut = error
    yield from found
    if cut is not None:
        reason = f"the file cannot be read from here on: {cut.reason}"
        yield Record(collector.open_line or cut.line, cut.line, Defect(ProblemKind.CUT, reason))


@dataclass
class _Element:
    name: str
    attributes: Mapping[str, str]
    line: int
    text: list[str] = field(default_factory=list)
    children: list[tuple[str, Any, Mapping[str, str]]] = field(default_factory=list)


class _Collector:
    """Builds each record while its element is open."""

    def __init__(self, shape: XmlShape, encoding: str, found: Callable[[Record], None]) -> None:
        self._shape = shape
        self._encoding = encoding
        self._found = found
        self._path: list[str] = []
        self._open: list[_Element] = []
        self._characters = 0
        self._has_bad_bytes = False
        self.line_of: Callable[[], int] = lambda: 0

    @property
    def open_line(self) -> int | None:
        """Where the record starts that is open."""
        return self._open[0].line if self._open else None

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._path.append(name)
        if not self._open:
            if tuple(self._path) != self._shape.path:
                return
            self._characters, self._has_bad_bytes = 0, False
        own = {key: value for key, value in attributes.items() if key.partition(":")[0] != "xmlns"}
        self._count("".join(own.values()))
        self._open.append(_Element(name, own, self.line_of()))

    def text(self, text: str) -> None:
        if self._open:
            self._count(text)
            if self._characters <= _RECORD_CHARACTERS_MAX:
                self._open[-1].text.append(text)

    def end(self) -> None:
        self._path.pop()
        if not self._open:
            return
        element = self._open.pop()
        if self._open:
            if self._characters <= _RECORD_CHARACTERS_MAX:
                self._open[-1].children.append((element.name, self._value(element), element.attributes))
            return
        self._found(Record(element.line, self.line_of(), self._content(element)))

    def _count(self, text: str) -> None:
        self._characters += len(text) + 1
        self._has_bad_bytes = self._has_bad_bytes or NO_TEXT in text

    def _content(self, element: _Element) -> Fields | Defect:
        if self._characters > _RECORD_CHARACTERS_MAX:
            return Defect(ProblemKind.TOO_LONG, f"has more than {_RECORD_CHARACTERS_MAX:,} characters")
        if self._has_bad_bytes:
            return Defect(ProblemKind.NOT_TEXT, f"has bytes that are not {self._encoding} text")
        fields = self._fields(element)
        for key, value in element.attributes.items():
            name = self._shape.name(key)
            if value.strip():
                fields[f"@{name}" if name in fields else name] = value.strip()
        return fields

    def _value(self, element: _Element) -> Any:
        text = "".join(element.text).strip()
        if element.children:
            fields = self._fields(element)
            return {**fields, "#text": text} if text else fields
        return text

    def _fields(self, element: _Element) -> Fields:
        """The children by name, repeated ones as a list; Google's own before others that have the same name."""
        values: dict[str, list[Any]] = {}
        google = {self._shape.name(name) for name, _value, _attributes in element.children if self._is_google(name)}
        for raw_name, value, attributes in element.children:
            name = self._shape.name(raw_name)
            if name in google and not self._is_google(raw_name):
                name = f"{name} (2)"
            for key, attribute in attributes.items():
                values.setdefault(f"{name}@{self._shape.name(key)}", []).append(attribute.strip())
            # The link of Atom has its address in an attribute.
            shown = value or (attributes.get("href", "") if name == "link" else "")
            if shown:
                values.setdefault(name, []).append(shown)
        return {name: found[0] if len(found) == 1 else found for name, found in values.items() if found != [""]}

    def _is_google(self, name: str) -> bool:
        return name.partition(":")[0] in self._shape.google and ":" in name
