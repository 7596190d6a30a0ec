"""Google Merchant Center's product data: a table, or the items of an RSS or Atom feed."""

from framematch.catalog.importing.presets.preset import OptionColumns, Preset

GOOGLE_MERCHANT = Preset(
    name="google-merchant",
    title="Google Merchant Center",
    layout="flat",
    required=frozenset({"id", "title", "image link"}),
    strong=frozenset(
        {"availability", "additional image link", "google product category", "identifier exists", "condition"}
    ),
    columns={
        "id": ("id",),
        "group": ("item group id",),
        "gtin": ("gtin",),
        "name": ("title",),
        "category": ("product type", "google product category"),
        "description": ("description",),
        "price": ("price",),
        "images": ("image link", "additional image link"),
    },
    options=OptionColumns(
        named=("color", "size", "material", "pattern", "age group", "gender", "size type", "size system")
    ),
)
