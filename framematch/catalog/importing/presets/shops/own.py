"""The project's own table, which exports write too."""

from framematch.catalog.importing.presets.preset import OptionColumns, Preset

OWN = Preset(
    name="own",
    title="framematch's own table",
    layout="flat",
    required=frozenset({"id", "name", "image"}),
    sure=frozenset({"id", "name", "images", "currency", "skus", "attributes"}),
    columns={
        "id": ("id",),
        "group": ("item group id",),
        "sku": ("sku",),
        "gtin": ("gtin",),
        "name": ("name",),
        "category": ("category",),
        "description": ("description",),
        "price": ("price",),
        "currency": ("currency",),
        "images": ("image", "images"),
        "skus": ("skus",),
        "attributes": ("attributes",),
    },
    options=OptionColumns(named=("color", "colour", "size", "material", "pattern", "style", "flavor", "flavour")),
    picture_separator=";",
    category_levels="",
    html=False,
)
