"""Amazon's flat files for the inventory: two rows for people stand above the row with the names of columns."""

from framematch.catalog.importing.presets.preset import OptionColumns, Preset

_MAX_OTHER_IMAGES = 8

AMAZON = Preset(
    name="amazon",
    title="Amazon flat file",
    layout="parent_child",
    required=frozenset({"item sku", "item name"}),
    strong=frozenset({"main image url", "external product id", "parent child", "feed product type", "standard price"}),
    columns={
        "id": ("item sku",),
        "parent": ("parent sku",),
        "gtin": ("external product id",),
        "name": ("item name",),
        "category": ("item type", "feed product type"),
        "description": ("product description",),
        "price": ("standard price",),
        "currency": ("currency",),
        "images": ("main image url", *(f"other image url{number}" for number in range(1, _MAX_OTHER_IMAGES + 1))),
        "kind": ("parent child", "parentage"),
    },
    options=OptionColumns(
        named=("color name", "size name", "style name", "material type", "flavor name", "scent name")
    ),
    picture_separator="",
    variant_kinds=frozenset({"child"}),
)
