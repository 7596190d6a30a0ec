"""Chooses the nodes of an image tower that run as int8: those that take the time and do not change the embedding much.

Measured with one thread, batch 8, on a CPU with VNNI, the same pictures for all variants; cosine is the mean to fp32.
The CNN has a 7x7 stem of stride 4 and residual 3x3 stages, the ViT 6 layers of width 384. Both have random weights, so
compare the rows only with each other:

| CNN                                       | cosine | speed | | ViT                               | cosine | speed |
|-------------------------------------------|--------|-------|-|-----------------------------------|--------|-------|
| every layer                               | 0.9906 | 2.0   | | every product, attention's too    | 0.9887 | 2.2   |
| and the sums that join them               | 0.9919 | 2.1   | | products with a constant          | 0.9945 | 2.3   |
| and the projection stays fp32             | 0.9951 | 2.2   | | and their results stay fp32       | 0.9967 | 2.4   |
| and the stem stays fp32 (chosen)          | 0.9947 | 2.9   | | and the patches too (chosen)      | 0.9968 | 2.5   |
|                                           |        |       | | all sums and their inputs int8    | 0.0662 | 1.8   |

The first convolution has three input channels, too few for int8 instructions; the projection is small and last.
"""

from collections.abc import Iterator, Mapping, Sequence

from onnx import ModelProto, NodeProto

PRODUCTS = ("MatMul", "Gemm")
# Operators that may follow a convolution; they cost nothing when their input is int8.
_JOINS = ("Add", "Relu", "Clip", "MaxPool")
KINDS = (*PRODUCTS, "Conv", *_JOINS)


def name_nodes(model: ModelProto) -> None:
    """Give each node a unique name, in place: exports may leave names out, and the quantiser needs them."""
    for number, node in enumerate(model.graph.node):
        node.name = f"{number}/{node.op_type}"


def nodes_for_int8(model: ModelProto) -> list[str]:
    """Names of the nodes to quantise, in order; empty when int8 would gain nothing.

    These are all convolutions but the first, the sums and activations between them, and all products with a constant
    matrix but the projection at the end. Normalisation, attention, pooling and the unit length stay fp32.
    """
    layers = list(_layers(model))
    convolutions = [node for node in layers if node.op_type == "Conv"]
    kept_fp32 = {node.name for node in convolutions[:1]}
    kept_fp32 |= {node.name for node in layers[-1:] if node.op_type in PRODUCTS}
    chosen = [node.name for node in layers if node.name not in kept_fp32]
    return [*chosen, *_joins(model, {node.name for node in convolutions} & set(chosen))]


def constant_products(model: ModelProto) -> Mapping[str, Sequence[NodeProto]]:
    """The tensors that are used only in products with constant matrices, each with its MatMul nodes."""
    constants = _constants(model)
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for tensor in node.input:
            users.setdefault(tensor, []).append(node)
    outputs = {output.name for output in model.graph.output}
    return {
        tensor: nodes
        for tensor, nodes in users.items()
        if tensor not in outputs
        and all(node.op_type == "MatMul" and node.input[0] == tensor and node.input[1] in constants for node in nodes)
    }


def _layers(model: ModelProto) -> Iterator[NodeProto]:
    """Nodes with a constant weight, in order."""
    constants = _constants(model)
    for node in model.graph.node:
        if node.op_type in {"Conv", *PRODUCTS} and node.input[1] in constants:
            yield node


def _joins(model: ModelProto, convolutions: set[str]) -> list[str]:
    """The operators between int8 convolutions: those that use only inputs and outputs of such convolutions."""
    found: list[str] = []
    computed = {output for node in model.graph.node for output in node.output}
    int8 = {
        tensor for node in model.graph.node if node.name in convolutions for tensor in (node.input[0], *node.output)
    }
    for node in model.graph.node:  # in the order of their computation
        inputs = computed.intersection(node.input)
        if node.op_type in _JOINS and inputs and inputs <= int8:
            int8.update(node.output)
            found.append(node.name)
    return found


def _constants(model: ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}
