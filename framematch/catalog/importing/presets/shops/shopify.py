"""Shopify's export of products, with the names of columns until 2024 and those of today."""

from framematch.catalog.importing.presets.preset import OptionColumns, Preset

# A product without options has one with this value.
_ABSENT = frozenset({"default title"})
# They are of the picture or the option in the row, not of the product.
_LEFT_OUT = frozenset({"image position", "image alt text", *(f"option{number} linked to" for number in (1, 2, 3))})
_OPTIONS = OptionColumns(
    pairs=tuple((f"option{number} name", f"option{number} value") for number in (1, 2, 3)), absent=_ABSENT
)

SHOPIFY_2024 = Preset(
    name="shopify",
    title="Shopify, export until 2024",
    layout="sectioned",
    required=frozenset({"handle", "title", "image src"}),
    strong=frozenset({"body (html)", "variant sku", "variant price", "option1 name", "image position"}),
    left_out=_LEFT_OUT,
    columns={
        "group": ("handle",),
        "sku": ("variant sku",),
        "gtin": ("variant barcode",),
        "name": ("title",),
        "category": ("product category", "type"),
        "description": ("body (html)", "body html"),
        "price": ("variant price",),
        "images": ("image src",),
        "own_images": ("variant image",),
    },
    options=_OPTIONS,
    picture_separator="",
)
SHOPIFY = Preset(
    name="shopify",
    title="Shopify",
    layout="sectioned",
    required=frozenset({"url handle", "title", "product image url"}),
    strong=frozenset({"variant image url", "image position", "compare-at price", "option1 name", "cost per item"}),
    left_out=_LEFT_OUT,
    columns={
        "group": ("url handle",),
        "sku": ("sku",),
        "gtin": ("barcode",),
        "name": ("title",),
        "category": ("product category", "type"),
        "description": ("description",),
        "price": ("price",),
        "images": ("product image url",),
        "own_images": ("variant image url",),
    },
    options=_OPTIONS,
    picture_separator="",
)
