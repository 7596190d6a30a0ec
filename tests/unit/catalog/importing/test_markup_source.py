"""RSS, Atom and other XML, and the JSON-LD of files and pages."""

import gzip
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.files import lines_of_text
from framematch.catalog.importing.files.records import Defect, Record
from framematch.catalog.importing.files.xml_records import xml_records
from framematch.catalog.importing.files.xml_shape import XmlShape
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError
from tests.unit.catalog.importing.source_files import fields, opened, outline, records

RSS = """<?xml version="1.0"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
<item>
  <g:id>1</g:id><title>Shirt &amp; more</title><g:title>Shirt</g:title><g:price>28.00 USD</g:price>
  <g:additional_image_link>b.jpg</g:additional_image_link><g:additional_image_link>c.jpg</g:additional_image_link>
  <g:shipping><g:country>US</g:country><g:price>1</g:price></g:shipping><description><![CDATA[<p>soft</p>]]></description>
</item>
<item><id>2</id><title>Cap</title><empty/></item>
</channel></rss>
"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:m="http://base.google.com/ns/1.0"><title>Shop</title>
<entry><m:id>1</m:id><title>Shirt</title><link href="https://shop.example/1"/></entry>
</feed>"""


def test_the_items_of_rss_have_googles_names_without_the_prefix() -> None:
    with opened(RSS) as source:
        assert (source.format, source.numbered_by) == ("RSS", "line")
        first, second = source.records
    assert first == Record(
        3,
        7,
        {
            "id": "1",
            "title (2)": "Shirt & more",
            "title": "Shirt",
            "price": "28.00 USD",
            "additional_image_link": ["b.jpg", "c.jpg"],
            "shipping": {"country": "US", "price": "1"},
            "description": "<p>soft</p>",
        },
    )
    assert second == Record(8, 8, {"id": "2", "title": "Cap"})


def test_the_entries_of_atom_are_read_whatever_their_prefix() -> None:
    with opened(ATOM) as source:
        assert source.format == "Atom"
        assert [record.content for record in source.records] == [
            {"id": "1", "title": "Shirt", "link@href": "https://shop.example/1", "link": "https://shop.example/1"}
        ]


@pytest.mark.parametrize(
    "text",
    [
        '<products><product id="1"><name>A</name></product><product id="2"><name>B</name></product></products>',
        (
            '<shop:all xmlns:shop="x"><shop:product><shop:id>1</shop:id><shop:name>A</shop:name></shop:product>'
            "<shop:product><shop:id>2</shop:id><shop:name>B</shop:name></shop:product></shop:all>"
        ),
        (
            '<yml_catalog><shop><categories><category id="7">S</category><category id="8">C</category></categories>'
            '<offers><offer id="1"><name>A</name><url/></offer><offer id="2"><name>B</name><url/></offer></offers>'
            "</shop></yml_catalog>"
        ),
        '<r><p id="1" name="A"/><p id="2" name="B"/></r>',
    ],
    ids=["attributes", "prefix of the root", "below other lists", "attributes alone"],
)
def test_the_repeated_element_of_other_xml_is_the_record(text: str) -> None:
    with opened(text) as source:
        assert (source.format, source.numbered_by) == ("XML", "record")
        assert [record.line for record in source.records] == [1, 2]
    assert fields(text) == [{"id": "1", "name": "A"}, {"id": "2", "name": "B"}]


def test_attributes_of_fields_are_columns_beside_them() -> None:
    text = '<r><p><id>1</id><price currency="EUR">4,20</price></p><p id="9"><id>2</id><a/></p></r>'
    assert fields(text) == [{"id": "1", "price@currency": "EUR", "price": "4,20"}, {"id": "2", "@id": "9"}]


def test_one_product_alone_is_a_record() -> None:
    assert fields("<products><product><id>1</id><name>A</name></product></products>") == [{"id": "1", "name": "A"}]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("ISO-8859-1", "iso8859-1"), ("windows-1251", "cp1251"), ("UTF-8", "utf-8"), ("nonsense", "utf-8")],
)
def test_xml_declares_its_encoding(declared: str, encoding: str) -> None:
    word = "Привет" if encoding in ("cp1251", "utf-8") else "Käse"
    text = f'<?xml version="1.0" encoding="{declared}"?><r><p><id>1</id><n>{word}</n></p></r>'
    assert fields(text.encode(encoding)) == [{"id": "1", "n": word}]


def test_utf_16_xml_with_a_mark_is_read() -> None:
    assert fields('<?xml version="1.0" encoding="UTF-16"?><r><p><id>1</id><n>ä</n></p></r>'.encode("utf-16")) == [
        {"id": "1", "n": "ä"}
    ]


def test_bytes_that_are_no_text_cost_their_record_only() -> None:
    start = b'<?xml version="1.0" encoding="utf-8"?>\n'
    data = start + b"<r><p><id>1</id><n/></p>\n<p><id>\xff</id></p>\n<p><id>3</id></p></r>"
    assert outline(data) == ["1", "?3", "3"]


def test_characters_that_xml_forbids_cost_nothing() -> None:
    assert fields("<r><p><id>1</id><n>a\x0bb</n></p></r>") == [{"id": "1", "n": "a b"}]


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "lol"}">' for n in range(10))


@pytest.mark.parametrize(
    "text",
    [
        f"<!DOCTYPE r [{BOMB}]><r><p><id>&a9;</id><n>1</n></p></r>",
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r><p><id>&x;</id><n>1</n></p></r>',
        '<!DOCTYPE r [<!ENTITY % x SYSTEM "http://127.0.0.1/x.dtd"> %x;]><r><p><id>1</id><n>1</n></p></r>',
    ],
    ids=["billion laughs", "a file", "a parameter entity"],
)
def test_xml_that_declares_entities_is_refused(text: str) -> None:
    with pytest.raises(CatalogError, match="declares entities"), opened(text):
        pass


def test_a_document_type_alone_is_harmless_and_names_of_html_are_known() -> None:
    text = '<!DOCTYPE r SYSTEM "shops.dtd"><r><p><id>1</id><n>4&nbsp;cm</n></p><p><id>2</id><n>b</n></p></r>'
    assert fields(text)[0] == {"id": "1", "n": "4\xa0cm"}


@pytest.mark.parametrize("kept", range(240, len(RSS) - 2, 7))
def test_xml_that_is_cut_anywhere_is_not_taken_for_complete(kept: int) -> None:
    last = records(RSS[:kept])[-1].content
    assert isinstance(last, Defect)
    assert last.kind is ProblemKind.CUT
    assert last.reason == "the file cannot be read from here on: it ends in the middle"


def test_xml_that_is_wrong_in_the_middle_ends_there_with_its_line() -> None:
    found = records("<r><p><id>1</id><n>a</n></p>\n<p>\n<id>2</n></p>\n<p><id>3</id></p></r>")
    assert [record.line for record in found] == [1, 2]
    assert found[1].last_line == 3
    assert isinstance(found[1].content, Defect)
    assert found[1].content.reason == "the file cannot be read from here on: it is no XML: mismatched tag"


def test_xml_without_records_says_so() -> None:
    with pytest.raises(CatalogError, match="no repeated element"), opened("<r>text</r>"):
        pass
    with pytest.raises(CatalogError, match="no XML"), opened("<"):
        pass


def test_elements_that_are_nested_without_end_are_refused() -> None:
    with opened("<r><p><id>1</id><n>a</n></p><p>" + "<x>" * 10_000) as source:
        assert [isinstance(record.content, Defect) for record in source.records] == [False, True]


def test_a_huge_record_is_one_defect() -> None:
    text = f"<r>\n<p><id>1</id><n>{'x' * 5_000_000}</n></p>\n<p><id>2</id><n>b</n></p></r>"
    assert outline(text) == ["?2", "2"]


def test_a_tag_without_an_end_is_noticed() -> None:
    text = "<r><p><id>1</id><n>a</n></p><p x='" + "y" * 40_000_000
    last = records(text)[-1].content
    assert isinstance(last, Defect)
    assert last.kind is ProblemKind.CUT


def test_a_large_feed_is_read_in_little_memory() -> None:
    given_out = 0

    def pieces() -> Iterator[str]:
        nonlocal given_out
        yield "<r>"
        for number in range(3_000):
            given_out += 1
            yield f"<p><id>{number}</id><n>{'x' * 1_000}</n></p>"
        yield "</r>"

    shape = XmlShape("XML", ("r", "p"), frozenset({"g"}), frozenset())
    read = 0
    for _record in xml_records(pieces(), shape, "utf-8"):
        read += 1
        assert given_out - read < 200
    assert read == 3_000


def test_packed_feeds_are_read() -> None:
    assert len(fields(gzip.compress(RSS.encode()))) == 2


@given(st.text(alphabet="<>/p&;\"'= \n![CDATA", max_size=40))
def test_no_markup_makes_the_reader_fail(text: str) -> None:
    try:
        found = records("<r>\n<p><id>1</id><n>a</n></p>\n" + text)
    except CatalogError:
        return
    assert found
    assert all(one.line <= other.line for one, other in pairwise(found))


SHIRT: dict[str, Any] = {"@type": "Product", "name": "Shirt", "sku": "s", "offers": {"price": "4.20"}}
RED, BLUE = {"@type": "Product", "sku": "r", "color": "red"}, {"@type": "http://schema.org/Product", "sku": "b"}
GROUP = {"@type": "ProductGroup", "@id": "#g", "productGroupID": "G", "name": "Shirts", "image": "g.jpg"}
OF_GROUP = {"isVariantOf": GROUP}
IN_CONTEXT = {"@context": "https://schema.org"}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({**IN_CONTEXT, **SHIRT}, [{**IN_CONTEXT, **SHIRT}]),
        ([SHIRT, {"@type": "WebSite", "name": "x"}, RED], [SHIRT, RED]),
        ({**IN_CONTEXT, "@graph": [{"@type": ["WebPage"], "mainEntity": SHIRT}, RED]}, [SHIRT, RED]),
        ({"@type": "ItemList", "itemListElement": [{"@type": "ListItem", "item": SHIRT}]}, [SHIRT]),
        ({**GROUP, "hasVariant": [RED, BLUE]}, [{**RED, **OF_GROUP}, {**BLUE, **OF_GROUP}]),
        (
            {"@graph": [{**RED, "@id": "#r"}, {**GROUP, "hasVariant": [{"@id": "#r"}]}]},
            [{**RED, "@id": "#r", **OF_GROUP}],
        ),
        ({"@graph": [GROUP, {**RED, "isVariantOf": {"@id": "#g"}}]}, [GROUP, {**RED, **OF_GROUP}]),
        ([{**GROUP, "hasVariant": []}], [GROUP]),
    ],
    ids=["product", "array", "graph", "list", "group", "variants by id", "group by id", "group alone"],
)
def test_each_product_of_json_ld_is_one_record(value: Any, expected: list[Any], indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    with opened(text) as source:
        assert (source.format, source.numbered_by) == ("JSON-LD", "record")
    assert fields(text) == expected
    page = f'<!DOCTYPE html><html><head><script type="application/ld+json">\n{text}\n</script></head></html>'
    with opened(page) as source:
        assert source.format == "JSON-LD"
    assert fields(page) == expected


def test_ids_of_several_pages_do_not_meet() -> None:
    other = {**GROUP, "name": "Other"}
    pages = [{"@graph": [group, {**RED, "isVariantOf": {"@id": "#g"}}]} for group in (GROUP, other)]
    assert [found["isVariantOf"] for found in fields(json.dumps(pages)) if "color" in found] == [{"@id": "#g"}] * 2


def test_json_ld_on_lines_is_read() -> None:
    assert fields("\n".join(json.dumps({**IN_CONTEXT, **product}) for product in (SHIRT, RED))) == [
        {**IN_CONTEXT, **SHIRT},
        {**IN_CONTEXT, **RED},
    ]


def test_all_blocks_of_a_page_are_read_and_a_bad_one_is_named() -> None:
    block = '<script type="application/ld+json; charset=utf-8">'
    page = f"""<!-- a page --><!doctype HTML>
<html><body><script>var x = "<p>";</script>{block}{json.dumps(SHIRT)}</script>
{block}{{"@type": "Product", }}</script>
{block}//<![CDATA[
{{"@type": "Product", "name": "two
lines"}}
//]]></script></body></html>"""
    first, bad, last = records(page)
    assert first.content == SHIRT
    assert isinstance(bad.content, Defect)
    assert bad.content.reason.startswith("the block on line 3 is not JSON")
    assert last.content == {"@type": "Product", "name": "two\nlines"}


def test_a_page_without_products_is_no_catalogue() -> None:
    with pytest.raises(CatalogError, match="no product in JSON-LD"), opened("<html><body>Hello</body></html>"):
        pass


def test_a_page_may_declare_its_encoding() -> None:
    page = (
        '<html><head><meta charset="windows-1251"><script type="application/ld+json">{"@type":"Product","name":"Сыр"}'
    )
    assert fields((page + "</script></html>").encode("cp1251"))[0]["name"] == "Сыр"


def test_a_graph_that_is_too_large_to_hold_is_read_node_by_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framematch.catalog.importing.files.json_document.START_CHARACTERS", 5_000)
    monkeypatch.setattr(lines_of_text, "_PIECE_CHARACTERS", 1_000)
    graph = [{**SHIRT, "sku": str(number)} for number in range(500)]
    assert fields(json.dumps({**IN_CONTEXT, "@graph": graph})) == graph
