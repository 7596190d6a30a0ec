"""Iterates over an ONNX model, including branches, loop bodies and local functions."""

from collections.abc import Iterable, Iterator

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto


def all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node, including those of nested graphs and functions."""
    yield from _nested(model.graph.node)
    for function in model.functions:
        yield from _nested(function.node)


def all_graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The graph itself and every graph nested in it."""
    yield model.graph
    for node in all_nodes(model):
        for attribute in node.attribute:
            yield from _graphs(attribute)


def all_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every constant tensor: initialisers and attributes."""
    for graph in all_graphs(model):
        yield from graph.initializer
    for node in all_nodes(model):
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors


def _nested(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in _graphs(attribute):
                yield from _nested(graph.node)


def _graphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    if attribute.type == AttributeProto.GRAPH:
        yield attribute.g
    yield from attribute.graphs
