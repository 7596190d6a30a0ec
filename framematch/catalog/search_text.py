"""The text of a product that a search by words looks at, and MongoDB's filter for such a search."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

from framematch.catalog.mongo import Document

SEARCH_TEXT: Final = "search_text"
"""The field of a product's document. Documents of an older version, or of other programs, do not have it."""
MAX_BYTES: Final = 4_096
"""Of the text in UTF-8; what is longer is cut."""

_BRANDS: Final = frozenset({"brand", "brands", "vendor", "manufacturer", "marke", "hersteller", "marque"})
_WORD = re.compile(r"\S+")


def folded(text: str) -> str:
    """The text without case and accents, with single spaces: `Äpfel,  süß` becomes `apfel, suss`."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(one for one in plain if not unicodedata.combining(one)).casefold().split())


def search_text(product: Document) -> str:
    """The folded text of a product, whose fields have the names of its document.

    Name, category, brand, the numbers of its articles and the description, one on each line; up to `MAX_BYTES`.
    """
    text = "\n".join(filter(None, map(folded, _parts(product))))
    return text.encode()[:MAX_BYTES].decode(errors="ignore")


def _parts(product: Document) -> Iterator[str]:
    yield product["name"]
    yield product["category"] or ""
    for name, value in product["attributes"].items():
        if name.casefold() in _BRANDS and isinstance(value, str):
            yield value
    for sku in product["skus"]:
        yield sku["id"]
        yield sku["gtin"] or ""
    yield product["description"] or ""


def words_filter(words: str | None) -> dict[str, Any]:
    """MongoDB's filter of the products that fit these words; empty without any.

    Each word is somewhere in the product's text, in any case and with any accents; or the whole starts the product's
    id. Of a document without a text only the name counts.
    """
    found = _WORD.findall(words or "")
    if not found:
        return {}
    in_text = [
        {"$or": [{SEARCH_TEXT: {"$regex": re.escape(folded(word))}}, {"name": {"$regex": in_any_case(word)}}]}
        for word in found
    ]
    starts_id = {"_id": {"$regex": "^" + re.escape((words or "").strip())}}
    return {"$or": [{"$and": in_text}, starts_id]}


def in_any_case(text: str) -> str:
    """A regular expression for the text in any case. MongoDB's own option `i` knows ASCII alone in some servers."""
    return "".join(map(_character, text))


def _character(character: str) -> str:
    cases = sorted({character.lower(), character.upper(), character})
    if len(cases) == 1 or any(len(case) != 1 for case in cases):
        return re.escape(character)
    return f"[{''.join(cases)}]"
