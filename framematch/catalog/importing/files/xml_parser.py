"""Parses XML of anybody in pieces: no entities of the file's own, nothing from outside, bounded depth and tags."""

import html
import re
from collections.abc import Callable, Mapping

# S407: expat itself is safe here: no entity may be declared, and no external one is loaded.
from xml.parsers import expat

from framematch.core.errors import CatalogError

NO_TEXT = "\U0001fffe"
"""Stands for a byte that is no text; no text has this character."""
_DEPTH_MAX = 100
_TAG_CHARACTERS_MAX = 16_000_000
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # which other programs write nevertheless

OnStart = Callable[[str, Mapping[str, str]], None]
OnText = Callable[[str], None]
OnEnd = Callable[[], None]


class XmlCutError(Exception):
    """From a line on the file is no XML, mostly as it ends in the middle."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class XmlParser:
    """Calls the functions for what it finds; names are as in the file, with their prefixes."""

    def __init__(self, on_start: OnStart, on_text: OnText, on_end: OnEnd) -> None:
        self._expat = expat.ParserCreate()
        self._expat.buffer_text = True
        self._on_start = on_start
        self._on_end = on_end
        self._depth = 0
        self._fed_bytes = 0
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = on_text
        self._expat.EntityDeclHandler = _refuse_entity
        self._expat.SkippedEntityHandler = lambda name, _is_parameter: on_text(html.unescape(f"&{name};"))

    @property
    def line(self) -> int:
        """The line of what was found last; 1 is the first."""
        return self._expat.CurrentLineNumber

    def feed(self, piece: str, *, last: bool = False) -> None:
        """Parse the next piece.

        Raises:
            CatalogError: the file declares entities, which may be a bomb.
            XmlCutError: it is no XML from here on.
        """
        clean = _NO_XML.sub(" ", _SURROGATE.sub(NO_TEXT, piece))
        self._fed_bytes += len(clean)
        try:
            self._expat.Parse(clean, last)
        except expat.ExpatError as error:
            what = expat.errors.messages.get(error.code, "") or str(error)
            reason = "it ends in the middle" if last else f"it is no XML: {what}"
            raise XmlCutError(reason, error.lineno) from None
        if self._fed_bytes - self._expat.CurrentByteIndex > _TAG_CHARACTERS_MAX:
            raise XmlCutError("a tag or comment has no end", self.line)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise XmlCutError(f"elements are nested deeper than {_DEPTH_MAX}", self.line)
        self._on_start(name, attributes)

    def _end(self, _name: str) -> None:
        self._depth -= 1
        self._on_end()


def _refuse_entity(*_declaration: object) -> None:
    raise CatalogError(
        "the XML declares entities, which can make a small file huge",
        hint="Write texts in place of the entities, and remove <!ENTITY …>",
    )
