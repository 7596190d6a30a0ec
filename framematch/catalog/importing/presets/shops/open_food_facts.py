"""Open Food Facts: the table, which is separated by tabs whatever its name, and the records of the database."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from framematch.catalog.importing.presets.preset import Preset

_IMAGES = "https://images.openfoodfacts.org/images/products"
# Folders of pictures have barcodes with zeros in front.
_BARCODE_DIGITS = 13
_CODE = re.compile(r"\d{1,24}", re.ASCII)


def with_front_picture(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The record with `image_url`: the dump of the database names pictures only by their revisions."""
    images, code = fields.get("images"), str(fields.get("code", "")).strip()
    columns = {name: value for name, value in fields.items() if name != "images" or not isinstance(images, dict)}
    if columns.get("image_url") or not isinstance(images, dict) or not _CODE.fullmatch(code):
        return columns
    for language, revision in _fronts(images, str(fields.get("lang") or fields.get("lc") or "")):
        return {**columns, "image_url": f"{_IMAGES}/{_folder(code)}/front_{language}.{revision}.400.jpg"}
    return columns


def _fronts(images: Mapping[str, Any], language: str) -> Iterator[tuple[str, str]]:
    """The languages and revisions of pictures of the front, the product's own language first."""
    selected = images.get("selected")
    if isinstance(selected, dict):
        fronts = selected.get("front")
        found = dict(fronts) if isinstance(fronts, dict) else {}
    else:
        found = {key.removeprefix("front_"): one for key, one in images.items() if key.startswith("front_")}
    for key in sorted(found, key=lambda one: one != language):
        revision = found[key].get("rev") if isinstance(found[key], dict) else None
        if isinstance(revision, str | int) and str(revision).isdecimal() and re.fullmatch("[a-z]{2,3}", key):
            yield key, str(revision)


def _folder(code: str) -> str:
    padded = code.zfill(_BARCODE_DIGITS)
    return f"{padded[:3]}/{padded[3:6]}/{padded[6:9]}/{padded[9:]}"


OPEN_FOOD_FACTS = Preset(
    name="open-food-facts",
    title="Open Food Facts",
    layout="flat",
    required=frozenset({"code", "product name"}),
    strong=frozenset({"generic name", "brands", "categories tags", "image small url", "image url", "images"}),
    columns={
        "id": ("code",),
        "gtin": ("code",),
        "name": ("product name", "generic name"),
        "category": ("categories en", "categories"),
        "description": ("generic name",),
        "images": ("image url",),
    },
    category_separator=",",
    category_levels="",
    flattened=with_front_picture,
)
