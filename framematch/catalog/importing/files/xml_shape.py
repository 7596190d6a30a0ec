"""Finds which elements of an XML file are its records, by the beginning of the file."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from framematch.catalog.importing.files.source_file import Format
from framematch.catalog.importing.files.xml_parser import XmlCutError, XmlParser
from framematch.core.errors import CatalogError

_SAMPLE_PIECES = 16  # 4 M characters
_PATH_LENGTH_MAX = 5
_GOOGLE = "base.google.com/"
_ATOM = "www.w3.org/2005/Atom"

Pieces = Callable[[], Iterator[str]]


@dataclass(frozen=True)
class XmlShape:
    """Which elements are the records, by the names from the root on, and the prefixes of names that say nothing."""

    format: Format
    path: tuple[str, ...]
    google: frozenset[str]
    dropped: frozenset[str]

    def name(self, name: str) -> str:
        """The name of a column: without the prefix of Google, Atom and of the root."""
        prefix, colon, local = name.partition(":")
        return local if colon and (prefix in self.google or prefix in self.dropped) else name


def xml_shape(pieces: Pieces) -> XmlShape:
    """Look at the beginning of the file, and choose the elements that are records.

    Raises:
        CatalogError: it declares entities, or nothing in it is a record.
    """
    survey = _Survey()
    parser = XmlParser(survey.start, lambda _text: None, survey.end)
    try:
        for piece in islice(pieces(), _SAMPLE_PIECES):
            parser.feed(piece)
    except XmlCutError as error:
        if not survey.counts:
            raise CatalogError(
                f"the file is no XML: {error.reason} (line {error.line})", hint="Export it again"
            ) from None
    if not survey.counts:
        raise CatalogError("the file is no XML: it ends in the middle", hint="Export it again")
    return survey.shape()


class _Survey:
    """Counts the elements of each path, and the kinds of their children."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self._children: dict[tuple[str, ...], set[str]] = {}
        self._path: list[str] = []
        self._google = {"g"}
        self._dropped: set[str] = set()

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        for attribute, value in attributes.items():
            if attribute.startswith("xmlns:"):
                target = self._google if _GOOGLE in value else self._dropped if _ATOM in value else None
                if target is not None:
                    target.add(attribute.partition(":")[2])
        if not self._path and ":" in name:
            self._dropped.add(name.partition(":")[0])
        path = tuple(self._path)
        self._path.append(name)
        if len(path) < _PATH_LENGTH_MAX:
            self.counts[(*path, name)] += 1
            self._children.setdefault(path, set()).add(name)

    def end(self) -> None:
        self._path.pop()

    def shape(self) -> XmlShape:
        root = next(iter(self.counts))[0].rpartition(":")[2]
        kind: Format = {"rss": "RSS", "RDF": "RSS", "feed": "Atom"}.get(root, "XML")  # type: ignore[assignment]  # they are
        wanted = {"RSS": "item", "Atom": "entry"}.get(kind)
        paths = [path for path in self.counts if wanted and path[-1].rpartition(":")[2] == wanted]
        path = paths[0] if paths else self._repeated()
        return XmlShape(kind, path, frozenset(self._google), frozenset(self._dropped))

    def _repeated(self) -> tuple[str, ...]:
        """The shallowest element below the root that is there twice and has several fields; else one that has."""

        def fields(path: tuple[str, ...]) -> int:
            return len(self._children.get(path, ()))

        below = [path for path in self.counts if len(path) > 1]
        for least_count, least_fields in ((2, 2), (1, 2), (2, 0)):
            found = [path for path in below if self.counts[path] >= least_count and fields(path) >= least_fields]
            if found:
                return min(found, key=lambda path: (len(path), -self.counts[path]))
        raise CatalogError("the XML has no repeated element with fields", hint="Export it as CSV or JSON lines")
