"""Finds the products in schema.org JSON-LD: in graphs, lists and groups of variants, each with its own field names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from framematch.catalog.importing.files.records import Fields

_PRODUCTS = frozenset({"Product", "IndividualProduct", "ProductModel", "SomeProducts", "Vehicle"})
_GROUP = "ProductGroup"
# Where other things than products have products.
_CONTAINERS = ("@graph", "mainEntity", "itemListElement", "item", "hasPart", "itemOffered", "about")
_DEPTH_MAX = 8

Node = dict[str, Any]


@dataclass(frozen=True)
class _Graph:
    """The nodes by their `@id`, and the groups by the `@id` of each variant that they refer to."""

    nodes: Mapping[str, Node]
    groups: Mapping[str, Node]


def products_in(value: Any) -> Iterator[Fields]:
    """All products of a JSON-LD value, in order, each once.

    A variant of a `ProductGroup` is a record of its own; the group, without its variants, becomes its field
    `isVariantOf`. A group whose variants are not in `value` is a record itself. What only refers to a node of `value`
    (`{"@id": …}`) becomes that node in the fields `isVariantOf` and `hasVariant`.
    """
    found: list[dict[str, Any]] = []
    _collect(value, found, 0)
    nodes = _nodes_by_id(found)
    seen: set[int] = set()
    yield from _products(value, _Graph(nodes, _groups_by_variant(found, nodes)), seen, 0)


def types_of(node: Mapping[str, Any]) -> frozenset[str]:
    """The types of a node without the address of schema.org before them."""
    types = node.get("@type")
    names = types if isinstance(types, list) else [types]
    return frozenset(name.replace(":", "/").rpartition("/")[2] for name in names if isinstance(name, str))


def _products(value: Any, graph: _Graph, seen: set[int], depth: int) -> Iterator[Fields]:
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, list):
        for item in value:
            yield from _products(item, graph, seen, depth + 1)
        return
    if not isinstance(value, dict) or id(value) in seen:
        return
    seen.add(id(value))
    types = types_of(value)
    if _GROUP in types or (types & _PRODUCTS and "hasVariant" in value):
        yield from _variants(value, graph, seen)
    elif types & _PRODUCTS:
        yield _fields(value, graph.groups.get(str(value.get("@id"))), graph)
    else:
        for key in _CONTAINERS:
            yield from _products(value.get(key), graph, seen, depth + 1)


def _variants(group: Node, graph: _Graph, seen: set[int]) -> Iterator[Fields]:
    variants = [_resolved(item, graph.nodes) for item in _as_list(group.get("hasVariant"))]
    variants = [variant for variant in variants if set(variant) - {"@id"}]
    if not variants:
        yield _fields(group, None, graph)
    for variant in variants:
        if id(variant) not in seen:
            seen.add(id(variant))
            yield _fields(variant, group, graph)


def _fields(node: Node, group: Node | None, graph: _Graph) -> Fields:
    fields = {key.strip(): value for key, value in node.items() if value is not None and value not in ("", [])}
    own = next((_resolved(item, graph.nodes) for item in _as_list(fields.get("isVariantOf"))), {})
    named = own if set(own) - {"@id"} else group or own
    if named:
        fields["isVariantOf"] = {key: value for key, value in named.items() if key != "hasVariant"}
    return fields


def _resolved(item: Any, nodes: Mapping[str, Node]) -> Node:
    if not isinstance(item, dict):
        return {}
    return nodes.get(str(item.get("@id")), item) if set(item) == {"@id"} else item


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _collect(value: Any, found: list[Node], depth: int) -> None:
    """All nodes that may be products or groups."""
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, list):
        for item in value:
            _collect(item, found, depth + 1)
    elif isinstance(value, dict):
        found.append(value)
        for key in (*_CONTAINERS, "hasVariant", "isVariantOf"):
            _collect(value.get(key), found, depth + 1)


def _nodes_by_id(found: list[Node]) -> dict[str, Node]:
    """The nodes with more than an `@id`; without those ids that several nodes have, as those of several pages do."""
    nodes: dict[str, Node] = {}
    ambiguous: set[str] = set()
    for node in found:
        name = node.get("@id")
        if isinstance(name, str) and len(node) > 1 and nodes.setdefault(name, node) != node:
            ambiguous.add(name)
    return {name: node for name, node in nodes.items() if name not in ambiguous}


def _groups_by_variant(found: list[Node], nodes: Mapping[str, Node]) -> dict[str, Node]:
    return {
        item["@id"]: group
        for group in found
        for item in _as_list(group.get("hasVariant"))
        if isinstance(item, dict) and set(item) == {"@id"} and item["@id"] in nodes
    }
