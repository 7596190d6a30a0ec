"""Akeneo PIM: the exports of products and product models."""

from dataclasses import replace

from framematch.catalog.importing.presets.preset import OptionColumns, Preset

AKENEO = Preset(
    name="akeneo",
    title="Akeneo",
    layout="parent_child",
    required=frozenset({"sku", "family"}),
    strong=frozenset({"categories", "enabled", "groups", "parent"}),
    negative=frozenset({"attribute set code"}),  # Magento's
    columns={
        # Models have a code; a product without an identifier has only its UUID.
        "id": ("sku", "identifier", "code", "uuid"),
        "parent": ("parent",),
        "gtin": ("ean", "gtin", "ean13", "barcode", "upc"),
        "name": ("name", "title", "label", "erp name"),
        "category": ("categories",),
        "description": ("description", "long description", "short description"),
        "price": ("price",),
        "images": ("image", "images", "picture", "pictures", "main image", "packshot"),
    },
    options=OptionColumns(named=("color", "main color", "size", "clothing size", "material")),
    picture_folder="files/",
    category_separator=",",
    category_levels="",
    escaped_line_ends=True,
    part_column="family variant",
    localised=True,
)
AKENEO_MODELS = replace(AKENEO, title="Akeneo, product models", required=frozenset({"code", "family variant"}))
