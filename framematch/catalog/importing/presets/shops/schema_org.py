"""Products as web pages describe them for search engines: schema.org in JSON-LD."""

from collections.abc import Mapping
from typing import Any

from framematch.catalog.importing.presets.preset import OptionColumns, Preset

PARENT_KEY = "inProductGroupWithID"
"""Where a node of a variant names its group."""
PRODUCT_IMAGE_KEY = "product image"
_GROUP_IDS = ("productGroupID", "sku", "@id", "url", "name")
_OF_GROUP = ("description", "category", "brand")
_GTINS = ("gtin14", "gtin13", "gtin12", "gtin8", "gtin", "ean", "isbn")
# What only connects the node with its page and others.
_DROPPED = {"@context", "@type", "@id", "offers", "isVariantOf", "inProductGroupWithID", "hasVariant", "variesBy"}


def flattened_node(node: Mapping[str, Any]) -> dict[str, Any]:
    """The node with a value for each key: texts of nested nodes, the price of its first offer, the id of its group."""
    columns = {key: _plain(value) for key, value in node.items() if key not in _DROPPED and key != "image"}
    columns |= {key: node[key] for key in ("image",) if node.get(key)}
    offer = _offer(node.get("offers"))
    columns |= {key: offer[key] for key in ("price", "priceCurrency", "availability") if offer.get(key) is not None}
    group = _first_object(node.get("isVariantOf"))
    parent = node.get(PARENT_KEY) or next((group[key] for key in _GROUP_IDS if group.get(key)), None)
    if parent:
        columns[PARENT_KEY] = parent
    # The group has the name of the product; what tells a variant apart stands in its own fields.
    columns |= {key: _plain(group[key]) for key in ("name",) if group.get(key)}
    columns |= {key: _plain(group[key]) for key in _OF_GROUP if group.get(key) and not columns.get(key)}
    if group.get("image"):
        columns[PRODUCT_IMAGE_KEY] = group["image"]
    is_parent = bool(node.get("hasVariant")) or "ProductGroup" in _types(node)
    if is_parent and not columns.get("productGroupID"):
        columns["productGroupID"] = next((node[key] for key in _GROUP_IDS if node.get(key)), None)
    if not any(columns.get(key) for key in ("sku", "productID", "productGroupID", "mpn", *_GTINS)) and node.get("@id"):
        columns["@id"] = node["@id"]
    return columns


def variants_of(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes of variants within that of their group."""
    several = node.get("hasVariant")
    nodes = several if isinstance(several, list) else [several]
    return [one for one in nodes if isinstance(one, dict) and one.keys() - {"@id", "@type"}]


def _offer(offers: Any) -> Mapping[str, Any]:
    """The first offer with a price; the lowest price if only a range is known."""
    several = offers if isinstance(offers, list) else [offers]
    for offer in several:
        if not isinstance(offer, dict):
            continue
        specification = _first_object(offer.get("priceSpecification"))
        price = next(
            (
                one.get(key)
                for one in (offer, specification)
                for key in ("price", "lowPrice")
                if one.get(key) is not None
            ),
            None,
        )
        if price is not None:
            currency = offer.get("priceCurrency") or specification.get("priceCurrency")
            return {**offer, "price": price, "priceCurrency": currency}
        if nested := _offer(offer.get("offers")):
            return nested
    return {}


def _first_object(value: Any) -> Mapping[str, Any]:
    several = value if isinstance(value, list) else [value]
    return next((one for one in several if isinstance(one, dict)), {})


def _plain(value: Any) -> Any:
    """The name or value of a nested node, as a brand or a category has it; anything else as it is."""
    if isinstance(value, dict):
        return next((value[key] for key in ("name", "@value", "value") if key in value), value)
    return value


def _types(node: Mapping[str, Any]) -> list[str]:
    types = node.get("@type")
    return [str(one).rpartition("/")[2] for one in (types if isinstance(types, list) else [types])]


SCHEMA_ORG = Preset(
    name="schema-org",
    title="schema.org (JSON-LD)",
    layout="parent_child",
    required=frozenset({"@type", "name"}),
    strong=frozenset({"@type", "offers", "@context", "hasvariant", "image"}),
    columns={
        "id": ("productgroupid", "sku", "productid", "mpn", *_GTINS, "@id", "url"),
        "parent": ("inproductgroupwithid",),
        "gtin": _GTINS,
        "name": ("name",),
        "category": ("category",),
        "description": ("description",),
        "price": ("price",),
        "currency": ("pricecurrency",),
        "images": ("image",),
        "product_images": (PRODUCT_IMAGE_KEY,),
    },
    options=OptionColumns(named=("color", "size", "material", "pattern")),
    decimal=".",
    flattened=flattened_node,
    listed=variants_of,
    listed_parent=PARENT_KEY,
)
