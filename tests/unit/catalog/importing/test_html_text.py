"""Tests of `framematch.catalog.importing.values.html_text`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.values.html_text import html_to_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Soft &amp; warm.</p><p>Wash at 30&nbsp;&deg;C</p>", "Soft & warm.\nWash at 30 °C"),
        ("<ul>\n  <li>red</li>\n  <li>blue</li>\n</ul>", "red\nblue"),
        ("one<br>two<BR/>three", "one\ntwo\nthree"),
        ("a <b>bold</b>\n word", "a bold word"),
        ("<table><tr><td>Size</td><td>M</td></tr><tr><td>Fit</td><td>slim</td></tr></table>", "Size M\nFit slim"),
        ("x<script>if (a < b) { document.write('<p>'); }</script>y<style>p { color: red }</style>z", "xyz"),
        ("seen <!-- <p>not seen</p> --> again", "seen again"),
        ("<![if !vml]><p>kept</p><![endif]>", "kept"),
        ("<p><![CDATA[a < b & c]]></p>", "a < b & c"),
        ("<img alt=\"a > b\" src='x'>seen", "seen"),
        ("<p>3 < 4, mail <info@example.org></p>", "3 < 4, mail <info@example.org>"),
        ("hy&shy;phen", "hyphen"),
    ],
)
def test_html_becomes_the_text_that_a_browser_shows(text: str, expected: str) -> None:
    assert html_to_text(text) == expected


def test_text_without_tags_keeps_its_lines() -> None:
    assert html_to_text("Salt &amp; pepper\n\n5 < 6\r\nend") == "Salt & pepper\n5 < 6\nend"


@given(st.text(alphabet="<>/!-=&;\"' \nabp[]?", max_size=60))
def test_any_text_is_read_and_has_no_empty_line(text: str) -> None:
    lines = html_to_text(text).split("\n")
    assert lines == [""] or all(line == line.strip() != "" for line in lines)


@given(st.lists(st.text(alphabet="abcäß€<&> \n", max_size=12), max_size=6))
def test_escaped_paragraphs_are_read_as_they_were_written(paragraphs: list[str]) -> None:
    source = "".join(f"<p class='x'>{text.replace('&', '&amp;').replace('<', '&lt;')}</p>" for text in paragraphs)
    words = [" ".join(text.split()) for text in paragraphs]
    assert html_to_text(source) == "\n".join(text for text in words if text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["<!--", "<a b=", "<a/", "<a b='", "<![CDATA[", "<script", "<", "</a ", '"<a "', "<!"]
)
def test_tags_that_never_end_take_linear_time(piece: str) -> None:
    assert html_to_text("<b>" + piece * (120_000 // len(piece))) is not None
