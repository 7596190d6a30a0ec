"""WooCommerce's export of products; its names of columns are those of the English version."""

from framematch.catalog.importing.presets.preset import OptionColumns, Preset

_MAX_ATTRIBUTES = 20

WOOCOMMERCE = Preset(
    name="woocommerce",
    title="WooCommerce",
    layout="parent_child",
    required=frozenset({"type", "sku", "name", "images"}),
    strong=frozenset(
        {"regular price", "parent", "published", "short description", "visibility in catalog", "is featured?"}
    ),
    columns={
        # A variation names its parent by the SKU, or as id:741 if that has none.
        "id": ("sku", "id"),
        "parent": ("parent",),
        "gtin": ("gtin, upc, ean, or isbn", "meta: global unique id"),
        "name": ("name",),
        "category": ("categories",),
        "description": ("description", "short description"),
        "price": ("regular price",),
        "images": ("images",),
        "kind": ("type",),
    },
    id_prefixes={"id": "id:"},
    options=OptionColumns(
        pairs=tuple((f"attribute {n} name", f"attribute {n} value(s)") for n in range(1, _MAX_ATTRIBUTES + 1))
    ),
    category_separator=",",
    escaped_line_ends=True,
    variant_kinds=frozenset({"variation"}),
)
