"""Magento and Adobe Commerce: the export of products."""

from framematch.catalog.importing.presets.preset import Preset

MAGENTO = Preset(
    name="magento",
    title="Magento",
    layout="parent_child",
    required=frozenset({"sku", "product type", "name", "base image"}),
    strong=frozenset({"attribute set code", "configurable variations", "additional attributes", "store view code"}),
    columns={
        "id": ("sku",),
        "name": ("name",),
        "category": ("categories",),
        "description": ("description", "short description"),
        "price": ("price",),
        "images": ("base image", "additional images"),
        "attributes": ("additional attributes",),
        "children": ("configurable variations",),
        "store_view": ("store view code",),
    },
    no_picture=frozenset({"no selection"}),
    category_separator=",",
    category_levels="/",
    attribute_pairs=True,
)
