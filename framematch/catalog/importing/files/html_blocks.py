"""Finds the JSON-LD of an HTML page: its blocks `<script type="application/ld+json">`."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from framematch.catalog.importing.files.json_ld import products_in
from framematch.catalog.importing.files.json_lines import InvalidJsonError, decode_json
from framematch.catalog.importing.files.lines_of_text import first_bad_byte, is_text
from framematch.catalog.importing.files.records import Defect, Record
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError

_PAGE_CHARACTERS_MAX = 64_000_000
_LINKED_DATA = "application/ld+json"
_STARTS_AS_HTML = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
# Some pages hide a block from old browsers.
_HIDING = re.compile(r"^\s*(//\s*)?(<!\[CDATA\[|<!--)|(//\s*)?(\]\]>|-->)\s*$")


def is_html(start: str) -> bool:
    """Whether the beginning of a text is that of a page, or one of its blocks."""
    return bool(_STARTS_AS_HTML.match(start)) or (start.lstrip()[:7].lower() == "<script" and _LINKED_DATA in start)


def page_records(pieces: Iterator[str], encoding: str) -> Iterator[Record]:
    """The products of all blocks, numbered; a block that is no JSON is a defect that names its line.

    Raises:
        CatalogError: the page is larger than any page.
    """
    blocks = _Blocks()
    characters = 0
    for piece in pieces:
        characters += len(piece)
        if characters > _PAGE_CHARACTERS_MAX:
            raise CatalogError("the page is too large", hint="Give the JSON-LD alone, as a JSON file")
        blocks.feed(piece)
    blocks.close()
    contents = (content for line, block in blocks.found for content in _contents(line, block, encoding))
    for number, content in enumerate(contents, 1):
        yield Record(number, number, content)


def _contents(line: int, block: str, encoding: str) -> Iterator[Defect | dict[str, object]]:
    at = f"the block on line {line}"
    if not is_text(block):
        reason = f"{at} has {first_bad_byte(block)}, which is not {encoding} text"
        yield Defect(ProblemKind.NOT_TEXT, reason, block)
        return
    text = _HIDING.sub("", _HIDING.sub("", block))
    try:
        yield from products_in(decode_json(text, strict=False))
    except InvalidJsonError as error:
        yield Defect(ProblemKind.NOT_JSON, f"{at} is {error}", block)


class _Blocks(HTMLParser):
    """Collects the blocks with the lines on which they start."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[int, str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = dict(attrs).get("type") or ""
        self._inside = tag == "script" and kind.partition(";")[0].strip().lower() == _LINKED_DATA
        if self._inside:
            self.found.append((self.getpos()[0], ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._inside:
            line, text = self.found[-1]
            self.found[-1] = (line, text + data)
