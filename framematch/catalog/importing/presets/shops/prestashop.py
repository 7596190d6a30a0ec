"""PrestaShop's table for the import of products, as its samples and export modules write it."""

from framematch.catalog.importing.presets.preset import Preset

PRESTASHOP = Preset(
    name="prestashop",
    title="PrestaShop",
    layout="flat",
    required=frozenset({"product id", "name", "image urls (x,y,z...)"}),
    strong=frozenset({"active (0/1)", "reference #", "price tax excluded", "categories (x,y,z...)"}),
    columns={
        "id": ("product id", "id"),
        "sku": ("reference #", "reference"),
        "gtin": ("ean13", "ean-13", "upc", "isbn"),
        "name": ("name",),
        "category": ("categories (x,y,z...)", "categories"),
        "description": ("description", "summary", "short description"),
        "price": ("price tax excluded", "price tax excl.", "price tax included", "price tax incl."),
        "images": ("image urls (x,y,z...)", "image urls"),
    },
    category_separator=",",
)
