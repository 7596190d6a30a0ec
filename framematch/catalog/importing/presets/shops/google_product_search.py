"""Google's Vision API Product Search: a CSV file without a header, with a picture of a product in each row."""

from framematch.catalog.importing.presets.preset import Preset

GOOGLE_PRODUCT_SEARCH = Preset(
    name="google-product-search",
    title="Google Product Search",
    layout="sectioned",
    required=frozenset({"image-uri", "product-set-id", "product-id", "product-category"}),
    columns={
        "group": ("product-id",),
        "name": ("product-display-name",),
        "category": ("product-category",),
        "images": ("image-uri",),
        "attributes": ("labels",),
    },
    left_out=frozenset({"image-id", "bounding-poly"}),
    picture_separator="",
    category_levels="",
    attribute_pairs=True,
    headerless=(
        "image-uri",
        "image-id",
        "product-set-id",
        "product-id",
        "product-category",
        "product-display-name",
        "labels",
        "bounding-poly",
    ),
)
