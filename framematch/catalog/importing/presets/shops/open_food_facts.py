"""Open Food Facts: the table, which is separated by tabs whatever its name, and the records of the database."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from framematch.catalog.importing.presets.preset import Preset

_IMAGES = "https://images.openfoodfacts.org/images/products"
# Folders of pictures have barcodes with zeros in front.
_BARCODE_DIGITS = 13
_CODE = re.compile(r"\d{1,24}", re.ASCII)


def flattened_record(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The record with plain names and `image_url`.

    The dumps of the database name pictures only by their revisions. The Parquet file has lists of names by language,
    and of pictures by key.
    """
    language, code = str(fields.get("lang") or fields.get("lc") or ""), str(fields.get("code", "")).strip()
    columns = {name: _in_language(value, language) for name, value in fields.items()}
    images = columns.get("images")
    if not isinstance(images, dict | list):
        return columns
    del columns["images"]
    if not columns.get("image_url") and _CODE.fullmatch(code):
        for of_language, revision in _fronts(images, language):
            columns["image_url"] = f"{_IMAGES}/{_folder(code)}/front_{of_language}.{revision}.400.jpg"
            break
    return columns


def _in_language(value: Any, language: str) -> Any:
    """The text in the product's language of `[{"lang": "de", "text": "Tee"}]`; other values as they are."""
    if not isinstance(value, list) or not value:
        return value
    if not all(isinstance(one, dict) and one.keys() == {"lang", "text"} for one in value):
        return value
    # Of several languages `main` is the one in which the product was entered.
    return min(value, key=lambda one: (one["lang"] != language, one["lang"] != "main"))["text"]


def _fronts(images: Mapping[str, Any] | Sequence[Any], language: str) -> Iterator[tuple[str, str]]:
    """The languages and revisions of pictures of the front, the product's own language first."""
    if not isinstance(images, Mapping):
        images = {str(one.get("key")): one for one in images if isinstance(one, dict)}
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
    flattened=flattened_record,
)
