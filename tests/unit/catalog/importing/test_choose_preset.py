"""Which table a file has, by its columns."""

import pytest

from framematch.catalog.importing.files.source_file import HeaderPlace
from framematch.catalog.importing.presets.choose import choose_preset
from framematch.catalog.importing.presets.column_names import folded_name
from framematch.catalog.importing.presets.find_header import find_header
from framematch.catalog.importing.presets.shops.all_shops import PRESETS
from framematch.core.errors import CatalogError, UsageError
from tests.unit.catalog.importing.mapped_rows import cells

WOO = ["ID", "Type", "SKU", "Name", "Published", "Regular price", "Images"]


@pytest.mark.parametrize(
    ("columns", "title"),
    [
        (["id", "name", "image"], "framematch's own table"),
        (["Name", "IMAGES", "Id", "brand", "sku", "price"], "framematch's own table"),
        (WOO, "WooCommerce"),
        (["\ufeffID", *WOO[1:]], "WooCommerce"),
        (["ID", "Typ", "Artikelnummer", "Name", "Veröffentlicht", "Bilder"], "WooCommerce"),
        (["handle", "TITLE", "image src"], "Shopify, export until 2024"),
        (["Title", "URL handle", "Product image URL"], "Shopify"),
        (["id", "title", "image link", "price"], "Google Merchant Center"),
        (["id", "title", "image_link", "price"], "Google Merchant Center"),
        (["g:id", "g:title", "g:image_link"], "Google Merchant Center"),
        (["ID", "Name*", "Image URLs (x,y,z...)"], "PrestaShop"),
        (["sku", "product_type", "name", "base_image", "categories"], "Magento"),
        (["sku", "family", "categories", "name-en_US"], "Akeneo"),
        (["uuid", "family", "categories", "name-en_US"], "Akeneo"),
        (["code", "family_variant", "parent", "categories"], "Akeneo, product models"),
        (["item_sku", "item_name", "main_image_url"], "Amazon flat file"),
        (["code", "url", "product_name", "image_url"], "Open Food Facts"),
        (["@context", "@type", "name", "image", "offers"], "schema.org (JSON-LD)"),
        (["id", "name", "image", "@type", "offers"], "schema.org (JSON-LD)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_columns_say_which_table_it_is(columns: list[str], title: str) -> None:
    assert choose_preset(columns, name=None).title == title


def test_a_version_of_a_named_shop_is_chosen_by_the_columns() -> None:
    assert choose_preset(["Handle", "Title", "Image Src"], name="shopify").title == "Shopify, export until 2024"


def test_a_named_table_wins() -> None:
    assert choose_preset([*WOO, "image"], name="own").name == "own"


def test_columns_that_the_user_maps_need_not_be_there() -> None:
    assert choose_preset(["id", "Titel", "image"], name=None, given={"name": ("Titel",)}).name == "own"


def test_a_shop_of_which_only_other_columns_are_there_is_not_chosen() -> None:
    given = {"id": ("Nr",), "name": ("Titel",), "images": ("Bild",), "gtin": ("EAN",)}
    columns = ["Nr", "Titel", "Bild", "EAN", "brands", "image_small_url"]
    assert choose_preset(columns, name=None, given=given).name == "own"  # type: ignore[arg-type]  # its keys


@pytest.mark.parametrize(
    ("columns", "message", "advice"),
    [
        (
            ["id", "Titel", "image"],
            "the columns are of no known table; the nearest is 'own' (framematch's own table), which also needs 'name'",
            "--map name=",
        ),
        (
            ["Product ID", "Image URLs (x,y,z...)", "Title"],
            "the columns are of no known table; the nearest is 'prestashop' (PrestaShop), which also needs 'name'",
            "--map name=",
        ),
        (
            ["id", "product name", "image"],
            "the columns are of no known table; the nearest is 'own' (framematch's own table), which also needs 'name'",
            "--map name='product name'",
        ),
    ],
)
def test_an_unknown_table_names_the_nearest_and_what_it_lacks(columns: list[str], message: str, advice: str) -> None:
    with pytest.raises(CatalogError) as caught:
        choose_preset(columns, name=None)
    assert caught.value.message == message
    assert advice in caught.value.hint
    assert all(repr(column) in caught.value.hint for column in columns)


def test_a_long_header_is_shortened() -> None:
    with pytest.raises(CatalogError) as caught:
        choose_preset([f"column {number}" * 10 for number in range(30)], name=None)
    assert "and 10 more" in caught.value.hint
    assert len(caught.value.hint) < 2_000


def test_a_named_table_says_what_is_missing() -> None:
    with pytest.raises(CatalogError) as caught:
        choose_preset(["id", "name", "image"], name="woocommerce")
    assert caught.value.message == "the columns are not those of WooCommerce, which also needs 'images' and 'type'"


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        choose_preset(WOO, name="woocomerce")
    assert caught.value.message == "there is no preset 'woocomerce'; the nearest is 'woocommerce'"


def test_all_names_of_presets_are_folded() -> None:
    for preset in PRESETS:
        names = {name for several in preset.columns.values() for name in several}
        pairs = {name for pair in preset.options.pairs for name in pair}
        others = preset.required | preset.strong | preset.negative | preset.left_out | set(preset.options.named)
        assert {name for name in names | pairs | others if folded_name(name) != name} == set(), preset.title


OWN_ROW = "id,name,image\n1,Kiwi,a.jpg\n"
SEARCH_ROW = "gs://bucket/a.jpg,,set,p-1,toys-v2,Toy,,\n"


@pytest.mark.parametrize(
    ("text", "row", "first"),
    [
        (OWN_ROW, 0, "id"),
        ("Products of 2026,,\n,,\n" + OWN_ROW, 2, "id"),
        ("TemplateType=fptcustom,x\nSeller SKU,Name\nitem_sku,item_name,main_image_url\nA,B,c.jpg\n", 2, "item_sku"),
        ("\ufeffid,name,image\n", 0, "id"),
    ],
)
def test_the_header_is_found_below_other_rows(text: str, row: int, first: str) -> None:
    place = find_header(cells(text))
    assert (place.row, place.columns[0]) == (row, first)


def test_a_table_without_header_has_the_columns_of_its_preset() -> None:
    place = find_header(cells(SEARCH_ROW * 2))
    assert place.row is None
    assert place.columns[:4] == ("image-uri", "image-id", "product-set-id", "product-id")


def test_columns_that_the_user_maps_make_a_header() -> None:
    rows = cells("Preisliste\nNr,Titel,Bild\n1,Kiwi,a.jpg\n")
    given = {"id": ("Nr",), "name": ("Titel",), "images": ("Bild",)}
    assert find_header(rows, given=given) == HeaderPlace(1, ("Nr", "Titel", "Bild"))  # type: ignore[arg-type]  # its keys


@pytest.mark.parametrize("text", ["x,y\n1,2\n", "1,Kiwi,a.jpg\n"])
def test_rows_without_a_header_are_an_error_that_says_what_is_missing(text: str) -> None:
    with pytest.raises(CatalogError, match="the columns are of no known table"):
        find_header(cells(text), given={})


def test_the_first_row_is_the_header_where_columns_may_be_mapped() -> None:
    assert find_header(cells("\nx,y\n1,2\n")) == HeaderPlace(1, ("x", "y"))


def test_blank_rows_alone_are_an_error() -> None:
    with pytest.raises(CatalogError, match="the file has no rows"):
        find_header([["", " "], []])
