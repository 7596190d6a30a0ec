"""Descriptions in HTML as plain text."""

import html
import re
from collections.abc import Iterator

# Each alternative ends at the next `<`, or takes all that follows, so the time is linear. The standard library's parser
# takes a minute for 100 kB of tags that do not end.
_MARKUP = re.compile(
    r"""
    <!--.*?(?:-->|\Z)
    |<!\[CDATA\[(?P<characters>.*?)(?:\]\]>|\Z)
    |<(?P<dropped>script|style|template)\b[^<>]*>.*?(?:</(?P=dropped)\s*>|\Z)
    |<[!?][^<>]*>                                                              # such as <!DOCTYPE html>, <![endif]>
    |</?(?P<tag>[a-z][a-z0-9:-]*)(?=[\s/>])(?:[^<>"']|"[^"<]*"|'[^'<]*'|["'])*+>
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_CELLS = {"td", "th"}
_BLOCKS = {
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure",
    "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "option", "p",
    "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
}  # fmt: skip
_SOFT_HYPHEN = "\N{SOFT HYPHEN}"


def html_to_text(text: str) -> str:
    """The text that a browser shows: a block ends a line, entities are characters, scripts and styles are left out.

    Text without tags keeps its lines. `<` before anything but a tag is a character.
    """
    return _tidied("".join(_parts(text)) if _MARKUP.search(text) else html.unescape(text))


def _parts(text: str) -> Iterator[str]:
    """The text between the tags, in one line, and what stands for the tags."""
    end = 0
    for markup in _MARKUP.finditer(text):
        yield _in_one_line(html.unescape(text[end : markup.start()]))
        end = markup.end()
        tag = (markup["tag"] or "").lower()
        if tag in _BLOCKS:
            yield "\n"
        elif tag in _CELLS:
            yield " "
        elif markup["characters"]:
            yield _in_one_line(markup["characters"])
    yield _in_one_line(html.unescape(text[end:]))


def _in_one_line(text: str) -> str:
    return re.sub(r"\s", " ", text)


def _tidied(text: str) -> str:
    """One space between words, no empty lines."""
    lines = (" ".join(line.split()) for line in text.replace(_SOFT_HYPHEN, "").splitlines())
    return "\n".join(line for line in lines if line)
