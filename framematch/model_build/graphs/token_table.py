"""Finds the table of token embeddings in a text tower."""

from collections.abc import Mapping

from onnx import ModelProto, NodeProto

# Operators that hand ids on as they are, and those through which an export reads its table.
_HAND_ON_IDS = {"Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten"}
_HAND_ON_TABLE = {"Cast", "Identity"}


def token_table_rows(tower: ModelProto, ids: str) -> int | None:
    """Rows of the table from which the input `ids` picks, or None where the graph does it in another way."""
    rows = {tensor.name: tensor.dims[0] for tensor in tower.graph.initializer if len(tensor.dims) > 1}
    makers = {output: node for node in tower.graph.node for output in node.output}
    carrying = {ids}
    # Nodes stand in an order in which every value is made before it is used.
    for node in tower.graph.node:
        if node.op_type in _HAND_ON_IDS and node.input[0] in carrying:
            carrying.add(node.output[0])
        elif node.op_type == "Gather" and node.input[1] in carrying:
            return _rows(node.input[0], rows, makers)
    return None


def _rows(table: str, rows: Mapping[str, int], makers: Mapping[str, NodeProto]) -> int | None:
    while table in makers and makers[table].op_type in _HAND_ON_TABLE:
        table = makers[table].input[0]
    if table in makers and makers[table].op_type == "Constant":
        return next((item.t.dims[0] for item in makers[table].attribute if item.name == "value" and item.t.dims), None)
    return rows.get(table)
