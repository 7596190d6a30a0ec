"""What is easily got wrong in the exports of shops: each preset reads each trap as the shop means it."""

from decimal import Decimal
from typing import Any

import pytest

from framematch.catalog.importing.presets.mapping import row_mapping
from framematch.catalog.importing.presets.mapping_options import MappingOptions
from framematch.catalog.importing.values.money import Money
from framematch.core.errors import CatalogError, UsageError
from tests.unit.catalog.importing.mapped_rows import good, mapped, reason

SHOPIFY = {
    "Handle": "shirt",
    "Title": "Shirt",
    "Body (HTML)": "",
    "Image Src": "https://a.test/a.jpg",
    "Variant SKU": "S-1",
}
WOO = {"ID": "741", "Type": "simple", "SKU": "P", "Name": "Mug", "Images": "https://a.test/a.jpg", "Published": "1"}
GOOGLE = {"id": "1", "title": "Mug", "image_link": "https://a.test/a.jpg", "availability": "in_stock"}
MAGENTO = {"sku": "a", "product_type": "simple", "name": "Mug", "base_image": "/m/u/mug.jpg"}
PRESTA = {"Product ID": "7", "Active (0/1)": "1", "Name *": "Mug", "Image URLs (x,y,z...)": "https://a.test/a.jpg"}
AKENEO = {"sku": "a", "family": "mugs", "name-en_US": "Mug", "image": "files/a/image/x.jpg"}
AMAZON = {"item_sku": "a", "item_name": "Mug", "main_image_url": "https://a.test/a.jpg"}
FOOD = {"code": "0737628064502", "product_name": "Noodles", "image_url": "https://a.test/a.jpg"}
SEARCH = {
    "image-uri": "gs://b/a.jpg",
    "product-set-id": "s",
    "product-id": "p",
    "product-category": "toys-v2",
    "product-display-name": "Toy",
}
SCHEMA = {"@type": "Product", "name": "Mug", "image": "https://a.test/a.jpg", "sku": "a"}
EUR = Money(Decimal("28.00"), "EUR")


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        pytest.param(
            SHOPIFY | {"Option1 Name": "Title", "Option1 Value": "Default Title"},
            "options",
            {},
            id="default title",
        ),
        pytest.param(SHOPIFY | {"Title": ""}, "role", "variant", id="Shopify's variants have no title"),
        pytest.param(SHOPIFY | {"Title": "", "Variant SKU": ""}, "role", "pictures", id="Shopify's rows of pictures"),
        pytest.param(
            SHOPIFY | {"Variant Barcode": "'7350177880121"},
            "gtin",
            "07350177880121",
            id="apostrophe",
        ),
        pytest.param(
            SHOPIFY | {"Title": "", "Variant SKU": "", "Option1 Value": "Red"},
            "options",
            {"option1": "Red"},
            id="only the first row names Shopify's options",
        ),
        pytest.param(
            SHOPIFY | {"Option1 Name": "Color", "Option1 Value": "Red"},
            "option_names",
            {"option1": "Color"},
            id="names for the rows below",
        ),
        pytest.param(
            SHOPIFY | {"Body (HTML)": "<p>Soft &amp;\n warm</p><p>Red</p>"},
            "description",
            "Soft & warm\nRed",
            id="HTML with line ends",
        ),
        pytest.param(
            SHOPIFY | {"Care (product.metafields.custom.care)": "dry"},
            "attributes",
            {"Care (product.metafields.custom.care)": "dry"},
            id="names with dots stay as they are",
        ),
        pytest.param(SHOPIFY | {"Status": "draft"}, "attributes", {"Status": "draft"}, id="drafts are imported"),
        pytest.param(
            SHOPIFY | {"Image Position": "1", "Image Alt Text": "front"},
            "attributes",
            {},
            id="fields of a picture",
        ),
        pytest.param(
            SHOPIFY | {"Image Src": "https://a.test/a,b.jpg"},
            "images",
            ("https://a.test/a,b.jpg",),
            id="Shopify has one picture in a cell",
        ),
        pytest.param(WOO | {"SKU": ""}, "id", "id:741", id="WooCommerce's products without SKU"),
        pytest.param(WOO | {"Type": "simple, virtual"}, "role", "product", id="WooCommerce's double types"),
        pytest.param(WOO | {"Type": "grouped"}, "role", "product", id="WooCommerce's grouped products"),
        pytest.param(WOO | {"Type": "external"}, "role", "product", id="WooCommerce's external products"),
        pytest.param(WOO | {"Type": "variation", "Parent": "id:7"}, "id", "id:7", id="a parent's number"),
        pytest.param(WOO | {"Type": "variation", "Parent": "P"}, "sku", "id:741", id="its parent's SKU"),
        pytest.param(
            {"ID": "7", "Typ": "variation", "Artikelnummer": "V", "Name": "Tasse", "Bilder": "a.jpg"}
            | {"Übergeordnetes Produkt": "P", "Attribut 1 Name": "Farbe", "Attribut 1 Wert(e)": "Rot"},
            "options",
            {"Farbe": "Rot"},
            id="a German WooCommerce",
        ),
        pytest.param(WOO | {"Regular price": ""}, "price", None, id="parents have no price"),
        pytest.param(
            WOO | {"Regular price": "28.00", "Sale price": "20"},
            "price",
            Money(Decimal("28.00")),
            id="the price is the regular one",
        ),
        pytest.param(WOO | {"Categories": "A > B, C"}, "category", "A > B", id="WooCommerce's first category"),
        pytest.param(WOO | {"Categories": "Cups\\, mugs > Big, C"}, "category", "Cups, mugs > Big", id="escapes"),
        pytest.param(
            WOO | {"Images": "https://a.test/a\\,b.jpg, https://a.test/c.jpg"},
            "images",
            ("https://a.test/a,b.jpg", "https://a.test/c.jpg"),
            id="WooCommerce's escaped commas in pictures",
        ),
        pytest.param(WOO | {"Description": "One\\nTwo"}, "description", "One\nTwo", id="line ends as backslash and n"),
        pytest.param(GOOGLE | {"price": "28.00 EUR"}, "price", EUR, id="the currency behind the price"),
        pytest.param(GOOGLE | {"item_group_id": "g", "color": "Red"}, "options", {"color": "Red"}, id="options"),
        pytest.param(GOOGLE | {"color": "Red"}, "options", {}, id="options without a group"),
        pytest.param(
            GOOGLE | {"additional_image_link": "https://a.test/w_8,h_6/b.jpg,https://a.test/c.jpg"},
            "images",
            ("https://a.test/a.jpg", "https://a.test/w_8,h_6/b.jpg", "https://a.test/c.jpg"),
            id="Google's addresses with commas",
        ),
        pytest.param(
            GOOGLE | {"additional_image_link": ["https://a.test/b.jpg", "https://a.test/c,d.jpg"]},
            "images",
            ("https://a.test/a.jpg", "https://a.test/b.jpg", "https://a.test/c,d.jpg"),
            id="XML repeats the tag",
        ),
        pytest.param(
            {"g:id": "1", "title": "Page", "g:title": "Mug", "g:image_link": "a.jpg"},
            "name",
            "Mug",
            id="namespace",
        ),
        pytest.param(
            {"ID": "1", "Image Link": "a.jpg", "TITLE": "Mug", "Additional image link": "b.jpg"},
            "images",
            ("a.jpg", "b.jpg"),
            id="Google's names in any case, with spaces",
        ),
        pytest.param(
            MAGENTO | {"additional_images": "no_selection", "small_image": "/m/u/mug.jpg"},
            "images",
            ("/m/u/mug.jpg",),
            id="Magento's word for no picture",
        ),
        pytest.param(MAGENTO | {"categories": "A/B,C"}, "category", "A > B", id="Magento's first category"),
        pytest.param(MAGENTO | {"store_view_code": "de"}, "role", "translation", id="Magento's store views"),
        pytest.param(
            MAGENTO | {"additional_attributes": 'color=Red,"features=light, small",x=1'},
            "attributes",
            {"product_type": "simple", "color": "Red", "features": "light, small", "x": "1"},
            id="Magento's attributes in one cell",
        ),
        pytest.param(
            MAGENTO | {"product_type": "configurable", "configurable_variations": "sku=a-1,x=Red|sku=a-2,x=Blue"},
            "options_by_sku",
            {"a-1": {"x": "Red"}, "a-2": {"x": "Blue"}},
            id="Magento's articles in one cell",
        ),
        pytest.param(PRESTA, "name", "Mug", id="PrestaShop's names with a star"),
        pytest.param(PRESTA | {"Reference #": "R-7"}, "sku", "R-7", id="PrestaShop's number of the article"),
        pytest.param(
            PRESTA | {"Image URLs (x,y,z...)": "https://a.test/a.jpg, https://a.test/b.jpg"},
            "images",
            ("https://a.test/a.jpg", "https://a.test/b.jpg"),
            id="PrestaShop's pictures",
        ),
        pytest.param(AKENEO | {"price-EUR": "28.00"}, "price", EUR, id="Akeneo's currency in the name of the column"),
        pytest.param(AKENEO | {"parent": "m"}, "role", "variant", id="Akeneo's variants"),
        pytest.param(
            {"code": "m-red", "family_variant": "v", "parent": "m", "name": "Mug", "image": ""},
            "role",
            "pictures",
            id="Akeneo's models below others are no articles",
        ),
        pytest.param(
            AKENEO | {"packshot_2": "files/a/packshot_2/y.jpg", "manual": "files/a/manual/y.pdf"},
            "images",
            ("files/a/image/x.jpg", "files/a/packshot_2/y.jpg"),
            id="Akeneo's pictures in any column",
        ),
        pytest.param(
            AMAZON | {"other_image_url1": "https://a.test/b.jpg", "other_image_url2": ""},
            "images",
            ("https://a.test/a.jpg", "https://a.test/b.jpg"),
            id="Amazon's columns of pictures",
        ),
        pytest.param(AMAZON | {"parent_child": "child", "parent_sku": "P"}, "id", "P", id="Amazon's children"),
        pytest.param(AMAZON | {"parent_sku": "a"}, "role", "product", id="a parent that names itself"),
        pytest.param(AMAZON | {"standard_price": "28.00", "currency": "EUR"}, "price", EUR, id="currencies"),
        pytest.param(FOOD, "gtin", "00737628064502", id="Open Food Facts' codes are barcodes"),
        pytest.param(FOOD, "id", "0737628064502", id="zeros in front of a code stay"),
        pytest.param(FOOD | {"categories": "Foods,Noodles"}, "category", "Foods", id="Open Food Facts' first category"),
        pytest.param(
            {
                "code": "20005726",
                "lang": "de",
                "product_name": [{"lang": "main", "text": "Tea"}, {"lang": "de", "text": "Tee"}],
            }
            | {"images": [{"key": "1", "rev": 1}, {"key": "front_de", "rev": 7}]},
            "images",
            ("https://images.openfoodfacts.org/images/products/000/002/000/5726/front_de.7.400.jpg",),
            id="Open Food Facts' Parquet",
        ),
        pytest.param(
            {"code": "20005726", "product_name": [{"lang": "fr", "text": "Thé"}, {"lang": "main", "text": "Tea"}]}
            | {"image_url": "a.jpg"},
            "name",
            "Tea",
            id="names in several languages",
        ),
        pytest.param(
            FOOD | {"image_url": "", "lang": "fr", "images": {"selected": {"front": {"fr": {"rev": "3"}}}}},
            "images",
            ("https://images.openfoodfacts.org/images/products/073/762/806/4502/front_fr.3.400.jpg",),
            id="Open Food Facts' selected pictures",
        ),
        pytest.param(
            WOO | {"Sale price": "9"},
            "attributes",
            {"ID": "741", "Type": "simple", "Published": "1", "Sale price": "9"},
            id="sale",
        ),
        pytest.param(SEARCH | {"product-display-name": ""}, "role", "pictures", id="a product's further pictures"),
        pytest.param(
            SEARCH | {"labels": "style=big,color=red", "image-id": "7"},
            "attributes",
            {"product-set-id": "s", "style": "big", "color": "red"},
            id="Google's labels",
        ),
        pytest.param(
            SCHEMA | {"offers": [{"price": 28.0, "priceCurrency": "EUR"}]},
            "price",
            Money(Decimal(28), "EUR"),
            id="a list of offers with numbers",
        ),
        pytest.param(
            SCHEMA | {"offers": {"@type": "AggregateOffer", "lowPrice": "28.00", "priceCurrency": "EUR"}},
            "price",
            EUR,
            id="a range of offers",
        ),
        pytest.param(
            SCHEMA | {"offers": {"price": "1.234", "priceCurrency": "EUR"}},
            "price",
            Money(Decimal("1.234"), "EUR"),
            id="schema.org has decimal points",
        ),
        pytest.param(
            SCHEMA | {"brand": {"@type": "Brand", "name": "Acme"}},
            "attributes",
            {"brand": "Acme"},
            id="brand",
        ),
        pytest.param(SCHEMA | {"brand": "Acme"}, "attributes", {"brand": "Acme"}, id="a brand that is text"),
        pytest.param(
            SCHEMA | {"image": [{"url": "https://a.test/b.jpg"}, "https://a.test/c.jpg"]},
            "images",
            ("https://a.test/b.jpg", "https://a.test/c.jpg"),
            id="pictures that are objects",
        ),
        pytest.param(
            SCHEMA | {"isVariantOf": {"productGroupID": "g", "name": "Mugs", "image": "https://a.test/g.jpg"}},
            "images",
            ("https://a.test/g.jpg",),
            id="a variant with the pictures of its group",
        ),
        pytest.param(
            SCHEMA | {"isVariantOf": {"productGroupID": "g", "name": "Mugs"}}, "name", "Mugs", id="the name of a group"
        ),
    ],
)
def test_a_trap_is_read_as_the_shop_means_it(fields: dict[str, Any], field: str, value: object) -> None:
    assert getattr(good(fields), field) == value


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (WOO | {"SKU": "5.90123E+12"}, "SKU '5.90123E+12' has lost digits in a spreadsheet; export it again as text"),
        (FOOD | {"code": "5,9E+12"}, "code '5,9E+12' has lost digits in a spreadsheet; export it again as text"),
        (PRESTA | {"EAN13": "5,9E12"}, "EAN13 '5,9E12' has lost digits in a spreadsheet; export it again as text"),
        (WOO | {"Type": "variation"}, "no parent, and the row is a variant"),
        (SHOPIFY | {"Handle": ""}, "no handle"),
        (GOOGLE | {"id": ""}, "no id"),
        (GOOGLE | {"title": ""}, "no title"),
        (GOOGLE | {"image_link": ""}, "no image link"),
        (GOOGLE | {"price": "1_000 EUR"}, "price '1_000 EUR' is not an amount such as 12.90"),
        (GOOGLE | {"price": "-1 EUR"}, "price '-1 EUR' is negative"),
        (
            GOOGLE | {"price": "4,204 EUR"},
            "price '4,204 EUR' is 4204 or 4.204; name the decimal sign with --decimal . or ,",
        ),
        (AMAZON | {"standard_price": "28", "currency": "coins"}, "currency 'coins' is no currency such as EUR"),
        (AMAZON | {"standard_price": "28 USD", "currency": "EUR"}, "the price is in USD, currency says EUR"),
        (SCHEMA | {"image": {"width": 8}}, "image is neither a path nor a list of paths"),
        (SCHEMA | {"name": ["a"]}, "name is not text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_is_refused_with_its_reason(fields: dict[str, Any], why: str) -> None:
    assert reason(fields) == why


def test_html_is_kept_beside_its_text() -> None:
    assert good(SHOPIFY | {"Body (HTML)": "<b>Soft</b>"}).attributes["description_html"] == "<b>Soft</b>"


def test_text_with_entities_is_no_html() -> None:
    row = good(SHOPIFY | {"Body (HTML)": "Soft &amp; 3 < 4"})
    assert (row.description, row.attributes) == ("Soft & 3 < 4", {})


def test_the_other_categories_stay_a_list() -> None:
    assert good(WOO | {"Categories": "A > B, C, D>E"}).attributes["Categories"] == ["C", "D > E"]


def test_pictures_of_a_variation_are_its_own() -> None:
    row = good(WOO | {"Type": "variation", "Parent": "id:7", "SKU": "V"})
    assert (row.images, row.own_images) == ((), ("https://a.test/a.jpg",))


def test_a_product_within_the_row_of_its_group_is_a_variant() -> None:
    node = {"@type": "Product", "sku": "g-red", "color": "Red", "image": "https://a.test/r.jpg"}
    group = {"@type": "ProductGroup", "productGroupID": "g", "name": "Mugs", "hasVariant": [node, {"@id": "#other"}]}
    (variant,) = good(group).variants
    assert (variant.role, variant.id, variant.sku, variant.options) == ("variant", "g", "g-red", {"color": "Red"})
    assert variant.own_images == ("https://a.test/r.jpg",)


@pytest.mark.parametrize(
    ("more", "keys"),
    [
        (WOO, ("id:P", "id:id:741")),
        (WOO | {"Type": "variation", "SKU": "", "Parent": "id:7"}, ("id:id:741", "id:id:7")),
        (WOO | {"Type": "variation", "SKU": "V", "Parent": "P"}, ("id:V", "id:id:741", "id:P")),
        (SHOPIFY, ("group:shirt",)),
        (GOOGLE, ("id:1",)),
        (GOOGLE | {"item_group_id": "g"}, ("group:g", "id:1")),
        (MAGENTO | {"configurable_variations": "sku=x,color=Red|sku=y,color=Blue"}, ("id:a", "id:x", "id:y")),
        (AKENEO | {"parent": "m"}, ("id:a", "id:m")),
        (SEARCH, ("group:p",)),
    ],
)
def test_rows_of_one_product_share_a_key(more: dict[str, str], keys: tuple[str, ...]) -> None:
    fields = {column: value for column, value in more.items() if value}
    assert mapped(more).group_keys(fields) == keys


def test_a_row_without_an_id_has_no_key() -> None:
    assert mapped(GOOGLE).group_keys({"title": "Mug"}) == ()


LOCALES = ["sku", "family", "name-en_US", "name-de_DE", "description-en_US-shop", "description-en_US-print", "image"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the file has texts in several locales: de_DE, en_US"),
        ({"locale": "en_US"}, "the file has texts in several channels: print, shop"),
    ],
)
def test_several_locales_and_channels_are_asked_for(options: dict[str, str], message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        mapped(LOCALES, **options)
    assert caught.value.message == message
    assert caught.value.hint.startswith("Choose one: --")


@pytest.mark.parametrize(("what", "asked"), [("locale", "fr_FR"), ("channel", "web")])
def test_an_unknown_locale_or_channel_names_those_there_are(what: str, asked: str) -> None:
    one = {"locale": "en_US", "channel": "shop", what: asked}
    with pytest.raises(UsageError) as caught:
        row_mapping(LOCALES, MappingOptions(locale=one["locale"], channel=one["channel"]))
    assert caught.value.message == f"the file has no {what} {asked!r}"
    assert ("en_US" if what == "locale" else "print, shop") in caught.value.hint


def test_texts_of_other_locales_and_channels_are_left_out() -> None:
    fields = {column: column for column in LOCALES}
    row = good(fields, locale="de_DE", channel="print")
    assert (row.name, row.description) == ("name-de_DE", None)
    assert row.attributes == {"family": "family"}


def test_of_several_currencies_one_is_chosen() -> None:
    columns = AKENEO | {"price-EUR": "10.00", "price-USD": "11.00"}
    assert good(columns).price == Money(Decimal("10.00"), "EUR")
    assert good(columns, currency="USD").price == Money(Decimal("11.00"), "USD")
